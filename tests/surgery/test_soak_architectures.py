"""Surgery, the doctor and prediction on many architectures: no false word, no crash."""

import warnings

import pytest

from helpers.architectures import NAMES, OWN, build
from helpers.surgery_cells import CELLS


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_every_cell_of_an_architecture(name):
    if name not in OWN:
        pytest.importorskip("transformers")
    with warnings.catch_warnings(action="ignore"):
        model, inputs = build(name)
        wrong = [said for check in CELLS.values() for said in check(model, inputs)]
    assert not wrong
