"""A disk that fills up at any point of a study: one line, whole files, and the same end later."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropkit import cli
from dropkit.study import Results
from dropkit.study.store.folder import RunFolder
from helpers.fabricated import untimed
from helpers.small_disk import small_disk

WORDS = ["compare", "digits", "--methods", "none,dropout", "--seeds", "2", "--epochs", "1"]
WORDS += ["--hidden", "4", "--jobs", "1", "--out"]
PAGE = 4  # kB: what a file takes at least


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", PAGE) as place:
        yield place


def test_a_disk_that_grows_little_by_little(
    disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*WORDS, str(tmp_path / "roomy")]) == 0
    undisturbed = Results.load(tmp_path / "roomy")
    capsys.readouterr()
    run = disk / "run"
    full_at, kept = set(), dict[Path, bytes]()
    for pages in (*range(1, 20), *range(20, 400, 10)):
        size = f"remount,size={pages * PAGE}k"
        subprocess.run(["mount", "-o", size, str(disk)], check=True)
        code = cli.run([*WORDS, str(run)])
        err = capsys.readouterr().err
        assert not list(disk.rglob("*.part"))
        assert {path: path.read_bytes() for path in kept} == kept  # nothing is trained again
        kept = {path: path.read_bytes() for path in run.glob("runs/*.json")}
        assert all(json.loads(content) for content in kept.values())
        if code == 0:
            break
        assert code == 2
        found = re.match(r"dropkit: No space left on device \((.*)\)", err.splitlines()[-1])
        assert found, err
        full_at.add(Path(found[1]).name.partition("-")[0])
    assert code == 0
    assert full_at >= {"manifest.json", "none", "dropout", "report.html"}
    assert full_at & {"predictions.npz", "results.json"}  # which of the two depends on the pages
    assert RunFolder.of(run).progress() == (4, 4)
    assert untimed(Results.load(run)).runs == untimed(undisturbed).runs
