"""Small nets are thinned too: how many rows it takes for a gain is tested by itself."""

import pytest

from dropkit.thinned import _units


@pytest.fixture
def always(monkeypatch):
    """Thin however few rows there are."""
    monkeypatch.setattr(_units, "_WORTH_SHARED", 0)
    monkeypatch.setattr(_units, "_WORTH_ALONE", 0)
