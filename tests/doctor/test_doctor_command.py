"""``dropkit doctor file.py:function``: what it prints and how it ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dropkit import cli

FILE = """
import torch
from torch import nn

def healthy():
    print("chatter")
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2)), torch.ones(3, 4)

def ill():
    return nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2), nn.Dropout(0.5)), torch.ones(3, 4)

def rate_of_0():
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.0), nn.Linear(8, 2)), torch.ones(3, 4)

def model_alone():
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(1.0))

def underfit():
    x, y = torch.randn(5000, 4), torch.randn(5000, 1)
    return nn.Linear(4, 1), x, ((x, y), (x, y))

def wrong_example():
    return nn.Linear(4, 8), torch.ones(3, 5)

class Two(nn.Linear):
    def forward(self, x, y):
        return super().forward(x) + y

def with_array():
    model = Two(4, 4)
    model.example_input_array = torch.ones(2, 4), torch.ones(2, 4)
    return model

def of_two_inputs():
    return Two(4, 4)

def breaks():
    raise KeyError("config")

def nothing():
    return None

def half_of_the_data():
    return nn.Linear(4, 1), torch.ones(3, 4), (torch.ones(3, 4), torch.ones(3, 1))

def a_number_as_data():
    return nn.Linear(4, 1), torch.ones(3, 4), 2

def rows_of_three():
    return nn.Linear(4, 1), None, [[(torch.ones(3, 4), torch.ones(3, 1), 0)]] * 2

def four():
    return nn.Linear(4, 1), torch.ones(3, 4), None, 3
"""


@pytest.fixture(autouse=True)
def _file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models.py").write_text(FILE)


def test_healthy_model_ends_with_0(capsys):
    assert cli.run(["doctor", "models.py:healthy"]) == 0
    assert capsys.readouterr().out == "no findings\n"


def test_findings_end_with_1_and_are_shown(capsys):
    assert cli.run(["doctor", "models.py:ill"]) == 1
    out = capsys.readouterr().out
    assert "warning 2 [on-output]" in out
    assert "1 finding\n" in out


def test_notes_are_shown_and_end_with_0(capsys):
    assert cli.run(["doctor", "models.py:rate_of_0"]) == 0
    out = capsys.readouterr().out
    assert "note 1 [rate]\n  p = 0 drops nothing" in out
    assert cli.run(["doctor", "models.py:rate_of_0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"] is True
    assert [f["severity"] for f in found["findings"]] == ["note"]


def test_json_is_all_of_standard_output(capsys):
    assert cli.run(["doctor", "models.py:ill", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"] is False
    assert [f["check"] for f in found["findings"]] == ["on-output"]
    assert cli.run(["doctor", "models.py:healthy", "--json"]) == 0
    streams = capsys.readouterr()
    assert json.loads(streams.out) == {"healthy": True, "findings": [], "skipped": []}
    assert "chatter" in streams.err


def test_without_an_example_one_is_made(capsys):
    assert cli.run(["doctor", "models.py:model_alone", "--json"]) == 1
    streams = capsys.readouterr()
    found = json.loads(streams.out)
    assert [(f["check"], f["path"]) for f in found["findings"]] == [("rate", "1")]
    assert found["skipped"] == []
    assert "no example was given; examined on inputs of shape (4, 4)\n" in streams.err
    assert cli.run(["doctor", "models.py:with_array"]) == 0
    assert "examined on inputs of shape (2, 4) and (2, 4)\n" in capsys.readouterr().err


def test_the_function_may_return_data(capsys):
    assert cli.run(["doctor", "models.py:underfit"]) == 1
    assert "[underfit]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("models.py:wrong_example", "must run on the example"),
        ("models.py:of_two_inputs", "nothing was run: the function returned no example"),
        ("models.py:breaks", "the model function fails: KeyError"),
        ("models.py:nothing", "torch.nn.Module, got NoneType"),
        ("models.py:half_of_the_data", "(x_validation, y_validation)), and a loader may replace"),
        ("models.py:half_of_the_data", "got Tensor in a pair's place"),
        ("models.py:a_number_as_data", "got int in a pair's place"),
        ("models.py:rows_of_three", "got tuple of 3 in a pair's place"),
        ("models.py:four", "(model, example) or (model, example, data), got 4 values"),
        ("models.py:heathy", "did you mean 'healthy'"),
        ("model.py:healthy", "did you mean 'models.py'"),
        ("models.py", "file.py:function"),
    ],
)
def test_what_the_user_can_put_right_is_one_line_and_ends_with_2(spec, says, capsys):
    assert cli.run(["doctor", spec]) == 2
    streams = capsys.readouterr()
    assert says in streams.err
    assert streams.err.count("\n") == 1
    assert "see where" not in streams.err
    assert not streams.out


def test_nothing_of_the_study_is_imported():
    """Beyond its settings, of which the command line makes its options whatever the command."""
    code = "from dropkit.cli import run; import sys; run(['doctor', '--help']); "
    code += "before = set(sys.modules); run(['doctor', 'models.py:ill']); "
    code += "new = [m for m in sys.modules if m.startswith('dropkit.study') and m not in before]; "
    code += "print(new, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[on-output]" in done.stdout
    assert done.stderr == "[]\n"
