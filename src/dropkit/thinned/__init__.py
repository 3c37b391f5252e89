"""Train only the kept sub-network: dropped units leave the matrix products."""

from dropkit.thinned._thin import Plan, thin

__all__ = ["Plan", "thin"]
