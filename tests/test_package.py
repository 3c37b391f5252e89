"""The package as a whole: light to import, and every public name explained."""

import ast
import importlib
import inspect
import json
import pickle
import pkgutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import dropkit

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
    "dropkit.param_groups",
    "dropkit.adapters.lightning",
    "dropkit.adapters.transformers",
    "dropkit.adapters.skorch",
    "dropkit.adapters.sklearn",
    "dropkit.study",
    "dropkit.study.record",
    "dropkit.study.analysis",
    "dropkit.study.report",
)
EXTRAS = {
    *("lightning", "pandas", "sklearn", "matplotlib", "scipy", "optuna", "rich", "typer"),
    *("transformers", "accelerate", "skorch", "pydantic", "joblib", "pyarrow"),
}


def _modules_after(code: str) -> set[str]:
    """Names of the modules that a new process has loaded after the code."""
    shown = "import json, sys; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{shown}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(run.stdout.splitlines()[-1]))


def _packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_importing_the_package_loads_no_torch() -> None:
    assert not _packages(_modules_after("import dropkit")) & (EXTRAS | {"torch", "numpy"})


# What takes long to import, some of it longer than torch.
SLOW = {"lightning", "torchmetrics", "transformers", "torch._dynamo", "sklearn", "pandas"}
SLOW |= {"scipy.stats", "optuna", "matplotlib"}

COMPLETE = """
import os, sys
os.environ.update(_DROPKIT_COMPLETE="complete_bash", COMP_WORDS="dropkit comp", COMP_CWORD="1")
sys.argv = ["dropkit"]
from dropkit.cli import run
run()
"""


@pytest.mark.parametrize(
    "code",
    [
        *(
            f"from dropkit.cli import run; assert run({words}) == 0"
            for words in (["--help"], ["--version"], ["compare", "--help"], ["doctor", "--help"])
        ),
        COMPLETE,
    ],
)
def test_help_and_completion_need_no_torch(code: str) -> None:
    assert not _modules_after(code) & (SLOW | {"torch", "numpy"})


@pytest.mark.parametrize(
    "code",
    [
        "import dropkit.study; dropkit.study.compare",
        "from dropkit.study import *",
        "from dropkit.study import Study; Study(data='digits')",
        "from dropkit.cli import run; assert run(['methods']) == 0",
    ],
)
def test_the_study_imports_what_is_slow_when_it_is_needed(code: str) -> None:
    assert not _modules_after(code) & SLOW


def test_a_comparison_imports_neither_lightning_nor_the_compiler(tmp_path: Path) -> None:
    words = "compare digits --methods none,early-stopping --seeds 1 --epochs 1 --hidden 8 --jobs 1"
    words += f" --out {tmp_path / 'run'}"
    loaded = _modules_after(f"from dropkit.cli import run; assert run({words.split()}) == 0")
    assert "sklearn" in loaded
    assert not loaded & {"lightning", "torchmetrics", "transformers", "torch._dynamo", "optuna"}


def test_every_name_of_the_package_needs_torch_and_numpy_alone() -> None:
    loaded = _modules_after("from dropkit import *")
    assert "torch" in loaded
    assert not _packages(loaded) & EXTRAS
    # Torch's compiler takes as long to import as torch, and most programs never call it.
    assert "torch._dynamo" not in loaded


def test_the_names_that_tools_see_are_the_lazy_ones() -> None:
    """mypy and editors read the imports under TYPE_CHECKING, Python the table of homes."""
    tree = ast.parse(Path(dropkit.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == dropkit._HOMES
    assert sorted(seen) == dropkit.__all__


@pytest.mark.parametrize("name", dropkit.__all__)
def test_a_lazy_name_is_the_object_of_its_module(name: str) -> None:
    found = getattr(dropkit, name)
    assert found is getattr(importlib.import_module(dropkit._HOMES[name]), name)
    assert pickle.loads(pickle.dumps(found)) is found
    assert name in dir(dropkit)


def test_submodules_are_attributes_after_importing_the_package() -> None:
    found = {m.name for m in pkgutil.iter_modules(dropkit.__path__) if m.name[0] != "_"}
    assert {"noise", "random", "study", "prediction"} <= found
    assert found <= set(dir(dropkit))
    used = "import dropkit; dropkit.noise.Dropout; dropkit.random.keep_mask; dropkit.errors"
    assert {"dropkit.noise", "dropkit.random", "dropkit.errors"} <= _modules_after(used)


@pytest.mark.parametrize("name", ["Dropuot", "GaussianNoise", "_nothing"])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"'dropkit' has no attribute '{name}'"):
        getattr(dropkit, name)
    with pytest.raises(ImportError, match=name):
        exec(f"from dropkit import {name}")


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
