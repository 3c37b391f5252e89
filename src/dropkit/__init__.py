"""Dropout and related regularizers for PyTorch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dropkit._lazy import load_name

if TYPE_CHECKING:
    from dropkit._doctor import Diagnosis, Finding, doctor
    from dropkit.constrain import max_norm_
    from dropkit.noise import Dropout, GaussianDropout
    from dropkit.prediction import predict, sampling
    from dropkit.study._judge import judge
    from dropkit.surgery import insert, rates, replace, set_rates, strip, wrap
    from dropkit.thinned import thin

__version__ = "0.1.0"

__all__ = [
    "Diagnosis",
    "Dropout",
    "Finding",
    "GaussianDropout",
    "doctor",
    "insert",
    "judge",
    "max_norm_",
    "predict",
    "rates",
    "replace",
    "sampling",
    "set_rates",
    "strip",
    "thin",
    "wrap",
]

# The module of each name, imported at first use, so that `dropkit --help` does not wait for torch.
_HOMES = {
    **dict.fromkeys(("Diagnosis", "Finding", "doctor"), "dropkit._doctor"),
    "judge": "dropkit.study._judge",
    "max_norm_": "dropkit.constrain",
    **dict.fromkeys(("Dropout", "GaussianDropout"), "dropkit.noise"),
    **dict.fromkeys(("predict", "sampling"), "dropkit.prediction"),
    **dict.fromkeys(
        ("insert", "rates", "replace", "set_rates", "strip", "wrap"), "dropkit.surgery"
    ),
    "thin": "dropkit.thinned",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES and not name.startswith("_") and name in _submodules():
        return import_module(f"dropkit.{name}")
    return load_name(__name__, name, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_submodules()})


def _submodules() -> set[str]:
    from pkgutil import iter_modules

    return {module.name for module in iter_modules(__path__) if not module.name.startswith("_")}
