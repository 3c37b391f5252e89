"""Check whether the study in a run folder is finished."""

from __future__ import annotations

from pathlib import Path

from dropkit.errors import StudyError
from dropkit.study.store.manifest import Manifest


def check_complete(folder: Path) -> None:
    """Raise `StudyError` if the folder's manifest shows that its study is not finished."""
    known = Manifest.read(folder)
    if known is None or known.state == "complete":
        return
    from dropkit.study.store.folder import RunFolder  # imports torch, which a report does not need

    done, asked = RunFolder.of(folder).progress()
    raise StudyError(
        f"the study in {folder} is not finished: {done} of {asked} runs are done; to resume: "
        f"dropkit compare {folder / 'study.toml'} --out {folder}"
    )
