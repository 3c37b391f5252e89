"""The package as a whole: light to import, and every public name explained."""

import importlib
import inspect
import subprocess
import sys
from importlib.metadata import version

import pytest

import dropkit

HEAVY = (
    *("lightning", "pandas", "sklearn", "matplotlib", "scipy", "optuna", "rich", "typer"),
    *("transformers", "accelerate", "skorch"),
)
PUBLIC = (
    "dropkit",
    "dropkit.noise",
    "dropkit.functional",
    "dropkit.random",
    "dropkit.schedule",
    "dropkit.constrain",
    "dropkit.scaling",
    "dropkit.surgery",
    "dropkit.prediction",
    "dropkit.testing",
    "dropkit._doctor",
    "dropkit.param_groups",
    "dropkit.adapters.lightning",
    "dropkit.adapters.transformers",
    "dropkit.adapters.skorch",
    "dropkit.adapters.sklearn",
    "dropkit.study",
    "dropkit.study.report",
)


def test_importing_the_core_imports_no_extra() -> None:
    code = "import sys, dropkit; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = run.stdout.split()
    assert not set(HEAVY) & {name.partition(".")[0] for name in loaded}
    # Torch's compiler takes as long to import as torch, and most programs never call it.
    assert "torch._dynamo" not in loaded


def test_versions_agree() -> None:
    assert version("dropkit") == dropkit.__version__


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    names = getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")])
    assert names
    for public in names:
        found = getattr(module, public)
        if inspect.isclass(found) or inspect.isfunction(found):
            assert inspect.getdoc(found), f"{name}.{public} has no docstring"
