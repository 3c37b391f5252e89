"""Whether small nets are thinned too, and whether the CPU kernel is at work."""

import pytest

from dropkit.thinned import _matrix, _units


@pytest.fixture
def always(monkeypatch):
    """Thin however few rows there are."""
    monkeypatch.setattr(_units, "_WORTH_SHARED", 0)
    monkeypatch.setattr(_units, "_WORTH_ALONE", 0)


@pytest.fixture
def kernel():
    """With the CPU kernel, or not at all."""
    if _matrix.kernel is None:
        pytest.skip("built without a compiler")


@pytest.fixture(params=["kernel", "torch"])
def way(request, monkeypatch):
    """With the CPU kernel, and without it."""
    if request.param == "torch":
        monkeypatch.setattr(_matrix, "kernel", None)
    else:
        request.getfixturevalue("kernel")
