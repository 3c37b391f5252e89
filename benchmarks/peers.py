"""Claim: dropkit claims wrongly in ≤ 5 % of studies, and finds no less than tools that do too.

Every tool judges the same made-up runs: a baseline and 1 or 5 methods with the seeds 0 to S - 1.
A score is the effect of its seed (standard deviation 1), shared by all methods, plus noise of its
own (0.5), so that a paired difference has a standard deviation of 0.71. ``false`` is the share of
studies in which a tool claims that any method differs where none does: at most 5 % is what it
promises. ``found`` is the share in which it claims the one method that is better by 1.0.

A claim is what the tool's documentation calls one, at its defaults for 5 %:

- ``dropkit.judge``: a p-value below 0.05 after Holm's correction;
- ``ictonyx``: `compare_two_models(paired=True)`, and `compare_multiple_models` for several, by its
  corrected p-values; it refuses fewer than six runs;
- ``autorank``: the test that it chooses, then the post-hoc test that it chooses, as its report
  reads them;
- ``baycomp``: `two_on_single`, a posterior probability above 0.95 that either one is better;
- ``deepsig``: almost stochastic order, a violation ratio below 0.2 either way, with its Bonferroni
  correction;
- ``rliable``: the 95 % interval of the probability of improvement excludes one half.

Some take seconds for a study, so that they judge fewer: as many as ``--limit`` seconds of
processor time allow, and ``deepsig`` and ``rliable`` with fewer bootstrap samples than by default
(``--reps``), which makes their claims noisier.

Then all of them judge one real file, the test errors of ``dropkit compare digits`` in
``results/digits.json``, and say which methods differ from the baseline there.

    pip install ictonyx autorank baycomp deepsig rliable 'pandas<3'
    python benchmarks/peers.py [--studies 400] [--limit 300] [--reps 100] [--jobs 2] [--json FILE]
"""

import argparse
import contextlib
import importlib.util
import io
import json
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from side_by_side import report

import dropkit

PEERS = ("ictonyx", "autorank", "baycomp", "deepsig", "rliable")
GAIN = 1.0
LEVEL = 0.05

Scores = dict[str, np.ndarray]  # of the baseline, the first, and the methods
Judge = Callable[[Scores], set[str]]


def by_dropkit(scores: Scores) -> set[str]:
    rows = [
        {"method": method, "seed": seed, "score": value}
        for method, values in scores.items()
        for seed, value in enumerate(values)
    ]
    found = dropkit.judge(rows, higher_is_better=True, baseline=next(iter(scores)))
    p_values = found.table()["p_holm"]
    return set(p_values.index[p_values < LEVEL])


def by_ictonyx(scores: Scores) -> set[str]:
    import ictonyx

    baseline, *methods = scores
    series = {name: pd.Series(values) for name, values in scores.items()}
    if len(methods) == 1:
        found = ictonyx.compare_two_models(series[baseline], series[methods[0]], paired=True)
        return set(methods) if found.p_value < LEVEL else set()
    several = ictonyx.analysis.compare_multiple_models(series).significant_comparisons
    pairs = {name: {f"{baseline}_vs_{name}", f"{name}_vs_{baseline}"} for name in methods}
    return {name for name in methods if pairs[name] & set(several)}


def by_autorank(scores: Scores) -> set[str]:
    from autorank import autorank

    baseline, *methods = scores
    with contextlib.redirect_stdout(io.StringIO()):  # it prints tables
        found = autorank(pd.DataFrame(scores))
    if found.pvalue >= LEVEL:
        return set()
    if len(methods) == 1:
        return set(methods)
    ranks = found.rankdf
    if found.cd is not None:
        far = (ranks["meanrank"] - ranks["meanrank"][baseline]).abs() > found.cd
        return set(ranks.index[far])
    low, high = ranks["ci_lower"], ranks["ci_upper"]
    return {m for m in methods if low[m] > high[baseline] or high[m] < low[baseline]}


def by_baycomp(scores: Scores) -> set[str]:
    import baycomp

    baseline, *methods = scores
    return {
        name
        for name in methods
        if max(baycomp.two_on_single(scores[baseline], scores[name])) > 1 - LEVEL
    }


def by_deepsig(scores: Scores, reps: int) -> set[str]:
    from deepsig import aso

    baseline, *methods = scores
    ratio = partial(
        aso,
        num_comparisons=len(methods),
        num_samples=reps,
        num_bootstrap_iterations=reps,
        show_progress=False,
        seed=0,
    )
    return {
        name
        for name in methods
        if ratio(scores[name], scores[baseline]) < 0.2
        or ratio(scores[baseline], scores[name]) < 0.2
    }


def by_rliable(scores: Scores, reps: int) -> set[str]:
    from rliable import library, metrics

    baseline, *methods = scores
    _, bounds = library.get_interval_estimates(
        {name: (scores[name][:, None], scores[baseline][:, None]) for name in methods},
        metrics.probability_of_improvement,
        reps=reps,
        random_state=np.random.RandomState(0),
    )
    return {name for name, (low, high) in bounds.items() if low[0] > 0.5 or high[0] < 0.5}


def make_scores(rng: np.random.Generator, seeds: int, methods: int, gain: float) -> Scores:
    shared = rng.normal(size=seeds)
    names = ["baseline", *(f"method{i}" for i in range(1, methods + 1))]
    scores = {name: shared + rng.normal(scale=0.5, size=seeds) for name in names}
    scores["method1"] = scores["method1"] + gain
    return scores


def simulate(
    tool: str, judge: Judge, methods: int, seeds: int, studies: int, limit: float
) -> dict[str, str | int | float]:
    """The shares of studies with a false claim, and with the right one."""
    started, done, false, found = time.process_time(), 0, 0, 0
    while done < studies and time.process_time() - started < limit:
        rng = np.random.default_rng([done, seeds, methods])
        false += bool(judge(make_scores(rng, seeds, methods, 0.0)))
        found += "method1" in judge(make_scores(rng, seeds, methods, GAIN))
        done += 1
    return {
        "tool": tool,
        "methods": methods,
        "seeds": seeds,
        "studies": done,
        "false": false / done,
        "found": found / done,
        "s a study": (time.process_time() - started) / done / 2,
    }


def read_digits() -> Scores:
    """One minus the test errors of a recorded study, the baseline first."""
    record = json.loads((Path(__file__).parent / "results" / "digits.json").read_text())
    return {
        method: np.array([1 - r["test"]["value"] for r in record["runs"] if r["method"] == method])
        for method in record["methods"]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tools", default=",".join(("dropkit", *PEERS)), help="which of them")
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument(
        "--limit",
        type=float,
        default=300,
        help="of processor time, for each tool and size, in seconds",
    )
    parser.add_argument("--reps", type=int, default=100, help="bootstrap samples")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    options = parser.parse_args()
    tools = options.tools.split(",")
    missing = [name for name in PEERS if name in tools and importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"peers.py needs {', '.join(missing)}: pip install {' '.join(PEERS)} 'pandas<3'")
    judges: dict[str, Judge] = {
        "dropkit": by_dropkit,
        "ictonyx": by_ictonyx,
        "autorank": by_autorank,
        "baycomp": by_baycomp,
        "deepsig": partial(by_deepsig, reps=options.reps),
        "rliable": partial(by_rliable, reps=options.reps),
    }
    judges = {tool: judges[tool] for tool in tools}
    warnings.simplefilter("ignore")
    with ProcessPoolExecutor(
        options.jobs, initializer=warnings.simplefilter, initargs=("ignore",)
    ) as pool:
        digits = {tool: pool.submit(judge, read_digits()) for tool, judge in judges.items()}
        cells = [
            pool.submit(simulate, tool, judge, methods, seeds, options.studies, options.limit)
            for tool, judge in judges.items()
            for methods in (1, 5)
            for seeds in (5, 10)
        ]
        rows = [cell.result() for cell in cells]
        claims = {tool: ", ".join(sorted(found.result())) for tool, found in digits.items()}
    for row in rows:
        row["on digits.json"] = claims[str(row["tool"])] or "nothing"
    report(__doc__, rows, options.json)


if __name__ == "__main__":
    main()
