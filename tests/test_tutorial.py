"""The tutorial runs from its first cell to its last, and shows what its text says."""

import json
import os
from pathlib import Path

import pytest

from helpers.waiting import HANGS

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"


@pytest.mark.soak
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat and nbclient")
    nbclient = pytest.importorskip("nbclient", reason="needs nbformat and nbclient")
    pytest.importorskip("ipykernel", reason="needs ipykernel")
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    notebook = nbformat.read(NOTEBOOK, 4)
    nbclient.NotebookClient(
        notebook, timeout=HANGS, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    said = json.dumps([cell.get("outputs", []) for cell in notebook.cells], ensure_ascii=False)
    assert said.count("training error") == 2
    assert "With 5 seeds, a study finds a true difference of" in said
    assert "Next: " in said
    assert "least sure tenth" in said
    assert (tmp_path / "compared" / "study.toml").is_file()


def test_the_kept_outputs_are_those_of_a_run() -> None:
    """Whoever reads the page without running it sees what a run gave."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    silent = [cell for cell in code if not cell["outputs"]]
    assert not [cell["source"][0] for cell in silent]
