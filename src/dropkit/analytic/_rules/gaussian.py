"""The data types of the rules: mean and variance of every unit, and a joint distribution."""

from typing import NamedTuple

from torch import Tensor


class Gaussian(NamedTuple):
    """Units that are approximated as independent and normal.

    Attributes:
        mean: of any shape.
        variance: 0 or more, with the shape of the mean.
    """

    mean: Tensor
    variance: Tensor


class Joint(NamedTuple):
    """Outputs with a covariance between some of them, the leading outputs.

    Attributes:
        mean: (rows, outputs).
        variance: (rows, outputs); the diagonal of ``covariance`` for leading outputs; for others,
            the variance under independent units.
        leading: indices of the leading outputs, (rows, k).
        covariance: covariance of the leading outputs, (rows, k, k).
    """

    mean: Tensor
    variance: Tensor
    leading: Tensor
    covariance: Tensor
