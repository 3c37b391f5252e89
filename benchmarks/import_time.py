"""Claims: importing all of dropkit takes at most 1.5 times what importing torch takes, of its study
too; `dropkit methods` at most 1.3 times; `--help` and completion at most half a second.

Processor seconds, user and system, of new processes one after the other: other work on the machine
hardly changes them. Ratios are to ``import torch`` in the same round.

python benchmarks/import_time.py [--rounds 7]
"""

import argparse
import os
import statistics
import subprocess
import sys

COMPLETE = {"_DROPKIT_COMPLETE": "complete_bash", "COMP_WORDS": "dropkit comp", "COMP_CWORD": "1"}
ROWS: dict[str, tuple[list[str], dict[str, str]]] = {
    "import torch": (["-c", "import torch"], {}),
    "import dropkit": (["-c", "import dropkit"], {}),
    "from dropkit import *": (["-c", "from dropkit import *"], {}),
    "import dropkit.study": (["-c", "import dropkit.study"], {}),
    "from dropkit.study import *": (["-c", "from dropkit.study import *"], {}),
    "a Study": (["-c", "from dropkit.study import Study; Study(data='digits')"], {}),
    "dropkit --version": (["-m", "dropkit", "--version"], {}),
    "dropkit --help": (["-m", "dropkit", "--help"], {}),
    "dropkit compare --help": (["-m", "dropkit", "compare", "--help"], {}),
    "completion in the shell": (["-m", "dropkit"], COMPLETE),
    "dropkit methods": (["-m", "dropkit", "methods"], {}),
}


def processor_seconds(words: list[str], environment: dict[str, str]) -> float:
    """Run Python with these words and return the processor seconds that it took."""
    process = subprocess.Popen(
        [sys.executable, *words],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, status, used = os.wait4(process.pid, 0)
    assert process.stderr is not None
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{words} failed: {process.stderr.read().decode()}")
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    for words, environment in ROWS.values():  # so that files are in memory and compiled
        processor_seconds(words, environment)
    taken = [{name: processor_seconds(*row) for name, row in ROWS.items()} for _ in range(rounds)]
    print(f"{'':28} {'CPU s':>6} {'of torch':>9}")
    for name in ROWS:
        seconds = statistics.median(each[name] for each in taken)
        ratio = statistics.median(each[name] / each["import torch"] for each in taken)
        print(f"{name:28} {seconds:6.2f} {ratio:8.2f}×")


if __name__ == "__main__":
    main()
