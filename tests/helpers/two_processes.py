"""Two processes that run one script together."""

import os
import subprocess
import sys
from pathlib import Path

from helpers.waiting import HANGS


def run_two(folder: Path, script: str) -> None:
    """Run ``script STORE RANK`` twice, side by side; each must print ``done`` alone."""
    (folder / "train.py").write_text(script)
    store = f"file://{folder / 'store'}"
    ranks = [
        subprocess.Popen(
            [sys.executable, "train.py", store, str(rank)],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in ranks:
        out, err = process.communicate(timeout=HANGS)
        assert process.returncode == 0, err[-2000:]
        assert out.strip() == "done"
