"""Every planted fault is found, where it is, and nothing else; the patient stays as it was."""

import pytest
import torch

from dropkit._doctor import doctor
from helpers.patients import PATIENTS


@pytest.mark.parametrize("name", PATIENTS)
def test_finds_the_planted_fault_and_no_other(name):
    make, example, faults = PATIENTS[name]
    torch.manual_seed(0)
    diagnosis = doctor(make(), example)
    assert {(f.check, f.path) for f in diagnosis.findings} == faults, str(diagnosis)
    assert not diagnosis.skipped
