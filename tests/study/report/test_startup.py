"""A report is made at once: nothing is imported that it does not need."""

import subprocess
import sys
from pathlib import Path

from dropkit.study.report.files import to_csv
from helpers.fabricated import make_record

CODE = """
import sys
from dropkit.cli import run
code = run(["report", sys.argv[1]])
print("modules:", *sys.modules)
sys.exit(code)
"""


def test_a_report_loads_neither_torch_nor_pandas_nor_all_of_scipy(tmp_path: Path) -> None:
    record = make_record({"none": [0.2, 0.21, 0.22], "l1": [0.1, 0.11, 0.13]})
    record.save(tmp_path / "results.json")
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    shown, _, loaded = run.stdout.partition("modules: ")
    assert shown.startswith("l1 lowers the test error by 9.67 points")
    assert (tmp_path / "results.csv").read_text(encoding="utf-8") == to_csv(record)
    assert "l1 lowers" in (tmp_path / "report.html").read_text(encoding="utf-8")
    heavy = {"torch", "lightning", "pandas", "scipy.stats", "sklearn", "optuna", "pyarrow"}
    assert not heavy & set(loaded.split())
