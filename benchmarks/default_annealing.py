"""Claim: no other defaults of annealed dropout are better than p = 0.5, input = 0.2 and until = 1.

Annealed dropout with each of these settings trains `dropkit compare`'s default network on nine data
sets (tables, text, images, speech; one of them a regression), over the default number of epochs.
The measure is the validation error after the last update: the test rows have no say in a default.
Each error is divided by the lowest of its data set among the annealed methods; a method's score is
the geometric mean of these ratios, 1 if it were the best everywhere. Scores of networks without
dropout and with ordinary dropout are relative to the same errors.

    python benchmarks/default_annealing.py DATA_DIR [--seeds 2] [--json FILE]
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from default_optimizer import ROWS, data_sets, mean_ratio, mean_values, read_arguments
from side_by_side import measured_on

from dropkit.study import compare
from dropkit.study.data import load

ANNEALED = tuple(
    f"annealed-dropout(p={p},input={p_input},until={until})"
    for p, p_input in ((0.5, 0.2), (0.3, 0.1))
    for until in (1.0, 0.75, 0.5)
)
METHODS = ("none", "dropout", *ANNEALED)


def main() -> None:
    arguments = read_arguments(__doc__)
    text = load("20ng-bow", data_dir=arguments.data_dir)
    rows = np.random.default_rng(0).permutation(len(text.y))[:ROWS]
    errors: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as place:
        sets = data_sets(arguments.data_dir, Path(place))
        sets["20ng-bow"] = ((text.X[rows], text.y[rows]), {})
        for name, (given, settings) in sets.items():
            study = {"methods": METHODS, "seeds": arguments.seeds, "jobs": 1}
            runs = compare(*given, **study, **settings, out=Path(place) / f"{name}-runs").runs
            errors[name] = mean_values(runs, "val")
            print(name, json.dumps(errors[name], indent=1), flush=True)
    methods = next(iter(errors.values()))
    annealed = [method for method in methods if method.startswith("annealed")]
    lowest = [min(found[each] for each in annealed) for found in errors.values()]
    scores = {
        method: mean_ratio([found[method] for found in errors.values()], lowest)
        for method in methods
    }
    result = {"validation error": errors, "score": scores, "measured on": measured_on()}
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
