"""Coverage-guided fuzzing of the ways in: ``python tests/fuzzing/cover.py [TARGET …]``.

Each target of ``targets.py`` gets as many cases as ``DROPKIT_FUZZ`` says, in a process of its own,
mutated by libFuzzer towards lines that were not reached before. An input that fails is kept in
``corpus/TARGET``, where the suite tries it from then on. Needs ``atheris``.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
CASES = int(os.environ.get("DROPKIT_FUZZ", "10000"))
SECONDS, MEGABYTES = 20, 4000  # more than that for one case is a fault


def fuzz(name: str) -> None:
    """Fuzz one target in this process, which it ends."""
    import atheris

    with atheris.instrument_imports(include=["dropkit.study", "dropkit.study.report"]):
        from targets import TARGETS
    target = TARGETS[name]
    target(b"")  # what is loaded and built once does not count as slow
    with tempfile.TemporaryDirectory() as found:
        options = [
            f"-runs={CASES}",
            f"-timeout={SECONDS}",
            f"-rss_limit_mb={MEGABYTES}",
            "-max_len=4096",
            "-seed=1",
            f"-artifact_prefix={CORPUS / name}/",
        ]
        atheris.Setup([sys.argv[0], *options, found, str(CORPUS / name)], target)
        atheris.Fuzz()


def fuzz_all(names: list[str]) -> bool:
    """Fuzz targets one after the other, print a line for each, and say whether all is well."""
    well = True
    for name in names:
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, __file__, "--one", name], capture_output=True, text=True
        )
        seconds = time.monotonic() - started
        cases = max(map(int, re.findall(r"^#(\d+)", done.stderr, re.MULTILINE)), default=0)
        covered = re.findall(r"cov: (\d+)", done.stderr) or ["0"]
        failed = done.returncode != 0 or cases < CASES
        print(f"{name:16} {cases:7} cases {seconds:6.0f} s  {covered[-1]:>5} places", flush=True)
        if failed:
            print(done.stderr[-4000:], file=sys.stderr)
        well = well and not failed
    return well


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2])
    else:
        from targets import TARGETS

        sys.exit(not fuzz_all(sys.argv[1:] or list(TARGETS)))
