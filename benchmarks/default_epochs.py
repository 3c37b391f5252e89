"""Claim: the default number of epochs is enough to see which method is better.

On the data sets of default_optimizer.py, `dropkit compare` runs with its default number of epochs
and again with ``until_converged``, which doubles it until no method's validation loss falls by more
than 2 %. Measured: the epochs found, as a multiple of the default; the time of the whole study, the
search included, as a multiple of the default's; and the test errors of both methods.

    python benchmarks/default_epochs.py DATA_DIR [--seeds 2] [--json FILE]
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from default_optimizer import METHODS, data_sets, mean_values, read_arguments
from side_by_side import measured_on

from dropkit.study import compare


def measure(given: tuple[Any, ...], settings: dict[str, Any]) -> dict[str, Any]:
    """Run a study; its epochs, seconds, test errors and verdict."""
    start = time.process_time()
    results = compare(*given, methods=METHODS, jobs=1, **settings)
    return {
        "epochs": max(len(run.curve.step) for run in results.runs),
        "diverged": sum(run.test is None for run in results.runs),
        "seconds": round(time.process_time() - start, 1),
        "test error": mean_values(results.runs, "test"),
        "verdict": results.analysis.verdict.headline,
    }


def main() -> None:
    arguments = read_arguments(__doc__)
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as place:
        for name, (given, settings) in data_sets(arguments.data_dir, Path(place)).items():
            study = settings | {"seeds": arguments.seeds}
            default = measure(given, study | {"out": Path(place) / f"{name}-default"})
            searched = measure(
                given, study | {"out": Path(place) / f"{name}-converged", "until_converged": True}
            )
            found[name] = {
                "times the epochs": searched["epochs"] / default["epochs"],
                "times the seconds": round(searched["seconds"] / default["seconds"], 2),
                "default": default,
                "until converged": searched,
            }
            print(name, json.dumps(found[name], indent=1, ensure_ascii=False), flush=True)
            if arguments.json:
                result = {"data sets": found, "measured on": measured_on()}
                arguments.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
