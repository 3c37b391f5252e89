"""`Results` → plain words: what helps, how surely, and what to beware of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dropkit.study.results import Results, Run
from dropkit.study.stats import Estimate, t_interval
from dropkit.study.summary import MethodSummary, summarize

SIGNIFICANCE = 0.05
NEGLIGIBLE_GAP = 0.1


@dataclass(frozen=True)
class Verdict:
    """A first line, what belongs to it, and what a reader should beware of."""

    headline: str
    details: tuple[str, ...]
    alerts: tuple[str, ...]


def verdict(results: Results) -> Verdict:
    """Say which method lowers the test error, if any does detectably.

    A method *differs detectably* if its Holm-corrected paired p-value is below 0.05 and its
    interval over the seeds excludes zero. The baseline *does not overfit* if the interval of its
    test loss minus its training loss lies below a tenth of the test loss, and its validation loss
    has not risen by a tenth above its lowest: then regularizing is not the remedy. No word is
    stronger than the interval beside it.
    """
    summaries = summarize(results)
    others = [s for s in summaries if s.method != results.baseline]
    better = sorted((s for s in others if differs(s) and _mean(s) < 0), key=_mean)
    worse = [s for s in others if differs(s) and _mean(s) > 0]
    details = list(_details(results, others, better, worse))
    fits = not overfits(results)
    if fits:
        details.insert(
            0,
            f"The baseline ({results.baseline}) does not overfit here: its loss on test rows is "
            "hardly above that on training rows. Regularizing is not the remedy; a larger or "
            "better suited model, or longer training, may be.",
        )
    return Verdict(
        _headline(results, others, better, worse, fits),
        tuple(details),
        tuple(_alerts(results, summaries)),
    )


def _mean(summary: MethodSummary) -> float:
    return 0.0 if summary.difference is None else summary.difference.mean


def differs(summary: MethodSummary) -> bool:
    """Whether a method's test error differs detectably from the baseline's."""
    return (
        summary.difference is not None
        and summary.difference.excludes_zero
        and summary.p_holm is not None
        and summary.p_holm < SIGNIFICANCE
    )


def overfits(results: Results) -> bool:
    """Whether the baseline overfits, or may: false only where the seeds show that it does not."""
    runs = results.of(results.baseline)
    pairs = [(run.train, run.test) for run in runs if run.train and run.test]
    gap = t_interval([test.loss - train.loss for train, test in pairs]) if pairs else None
    if gap is None or gap.high is None:
        return True
    negligible = NEGLIGIBLE_GAP * sum(test.loss for _, test in pairs) / len(pairs)
    return gap.high > negligible or len(_rising(runs)) > len(runs) / 2


def _rising(runs: tuple[Run, ...]) -> list[tuple[int, int]]:
    """(best epoch, epochs) of the runs whose validation loss ended a tenth above its lowest."""
    losses = [[loss for loss in run.curve.val_loss if loss is not None] for run in runs]
    return [
        (values.index(min(values)) + 1, len(values))
        for values in losses
        if values and values[-1] > (1 + NEGLIGIBLE_GAP) * min(values)
    ]


def amount(value: float, results: Results, *, signed: bool = False) -> str:
    """A size of error as a reader would say it: points of a percentage, or the target's units."""
    if results.data.task == "classification":
        text = f"{100 * abs(value):.2f}"
    else:
        text = f"{abs(value):.3g}"
    if float(text) == 0.0:
        return text
    return f"{'−' if value < 0 else '+' if signed else ''}{text}"


def interval(estimate: Estimate, results: Results, *, flip: bool = False) -> str:
    """An interval in brackets, its sign turned if the sentence speaks of lowering."""
    if estimate.low is None or estimate.high is None:
        return "[no interval]"
    low, high = (-estimate.high, -estimate.low) if flip else (estimate.low, estimate.high)
    return f"[{amount(low, results)}, {amount(high, results)}]"


def _unit(results: Results) -> str:
    return " points" if results.data.task == "classification" else ""


def _measure(results: Results) -> str:
    return "test error" if results.data.task == "classification" else "test RMSE"


def _headline(
    results: Results,
    others: list[MethodSummary],
    better: list[MethodSummary],
    worse: list[MethodSummary],
    fits: bool,
) -> str:
    baseline, runs = results.baseline, results.of(results.baseline)
    if not others:
        return f"only {baseline} was run: nothing to compare it with"
    if all(run.status == "diverged" for run in runs):
        return f"the baseline ({baseline}) diverged in every run: nothing can be compared with it"
    if better:
        best = better[0]
        doubt = f", but diverged in {best.diverged} of {best.runs} runs" if best.diverged else ""
        assert best.difference is not None
        return (
            f"{best.method} lowers {_measure(results)} by "
            f"{amount(-best.difference.mean, results)}{_unit(results)} "
            f"{interval(best.difference, results, flip=True)} against {baseline}{doubt}"
        )
    if all(summary.difference is None for summary in others):
        return f"nothing can be compared: no run finished together with {baseline}'s"
    if len(runs) < 2:
        return "one seed cannot tell a difference from luck: run more seeds"
    if fits:
        return f"no method helps detectably, and the baseline ({baseline}) does not overfit"
    if worse and len(worse) == len(others):
        return f"every method raises {_measure(results)} against {baseline}"
    if worse:
        return f"no method lowers {_measure(results)} detectably against {baseline}"
    return f"no method differs detectably from {baseline} over {len(runs)} seeds: more seeds needed"


def _details(
    results: Results,
    others: list[MethodSummary],
    better: list[MethodSummary],
    worse: list[MethodSummary],
) -> Iterator[str]:
    if better:
        yield from _about_the_best(results, better[0])
        close = [s for s in others if s not in worse and s is not better[0]]
        like = [s.method for s in close if _indistinguishable(results, better[0], s)]
        if like:
            yield f"Not told apart from it: {', '.join(like)}."
        for summary in better[1:]:
            if summary.method not in like:
                yield f"{summary.method} {_effect(summary, results)}."
    elif undecided := [s for s in others if s.difference is not None and not differs(s)]:
        largest = max(undecided, key=lambda s: abs(_mean(s)))
        if largest.p is None and _mean(largest) == 0:
            yield f"Every finished run erred exactly as {results.baseline} did."
        else:
            yield f"The largest difference seen: {largest.method} {_effect(largest, results)}."
    for summary in worse:
        yield f"{summary.method} {_effect(summary, results)}."


def _effect(summary: MethodSummary, results: Results) -> str:
    estimate = summary.difference
    assert estimate is not None
    lowers = estimate.mean < 0
    return (
        f"{'lowers' if lowers else 'raises'} {_measure(results)} by "
        f"{amount(abs(estimate.mean), results)}{_unit(results)} "
        f"{interval(estimate, results, flip=lowers)}"
    )


def _about_the_best(results: Results, best: MethodSummary) -> Iterator[str]:
    rows, wider = results.data.rows_test, best.new_rows
    if wider is None or wider.low is None:
        return
    shown = interval(wider, results, flip=True)
    if wider.excludes_zero:
        yield f"Counting that other test rows could have been drawn, the interval is {shown}."
    else:
        yield (
            f"That holds on these {rows:,} test rows. Counting that others could have been drawn, "
            f"the interval is {shown} and includes zero: on new data it is not settled, and takes "
            "more test rows."
        )


def _indistinguishable(results: Results, best: MethodSummary, other: MethodSummary) -> bool:
    pairs = {run.seed: run for run in results.of(other.method) if run.test}
    differences = [
        pairs[run.seed].test.error - run.test.error  # type: ignore[union-attr]
        for run in results.of(best.method)
        if run.test and run.seed in pairs
    ]
    return bool(differences) and not t_interval(differences).excludes_zero


def _alerts(results: Results, summaries: tuple[MethodSummary, ...]) -> Iterator[str]:
    for summary in summaries:
        if summary.diverged:
            yield (
                f"{summary.method} diverged in {summary.diverged} of {summary.runs} runs: its "
                "loss became infinite; its numbers are of the others. A lower learning rate helps."
            )
    if len(results.of(results.baseline)) == 1:
        yield "One seed gives no interval; --seeds 5 would."
    if results.data.task == "classification" and results.data.rows_test < 1000:
        yield (
            f"The test set has {results.data.rows_test} rows: one row is "
            f"{100 / results.data.rows_test:.2f} points."
        )
    rates = {
        method: run.arguments["lr"]
        for method in results.methods
        for run in results.of(method)[:1]
        if "lr" in run.arguments
    }
    if len(set(rates.values())) > 1 and not results.tuned:
        shown = ", ".join(f"{rate:g} {name}" for name, rate in rates.items())
        yield (
            f"Learning rates differ by the methods' defaults ({shown}); --tune searches each "
            "method's own with an equal number of trials."
        )
    yield from _curve_alerts(results)
    yield from results.data.notes


def _curve_alerts(results: Results) -> Iterator[str]:
    short = []
    for method in results.methods:
        falling = 0
        runs = [run for run in results.of(method) if len(run.curve.val_loss) >= 5]
        for run in runs:
            losses = [loss for loss in run.curve.val_loss if loss is not None]
            recent = losses[-1] < 0.99 * losses[-max(2, len(losses) // 5)] if losses else False
            falling += recent and min(losses) == losses[-1]
        if runs and falling > len(runs) / 2 and not method.startswith("early-stopping"):
            short.append(method)
    if short:
        yield (
            f"The validation loss was still falling at the last epoch with {', '.join(short)}: "
            "more --epochs may change the order."
        )
    plain = results.of(results.baseline)
    rises = _rising(plain)
    if len(rises) > len(plain) / 2:
        epochs = sorted(best for best, _ in rises)
        yield (
            f"{results.baseline} overfits as it trains: its validation loss is lowest around "
            f"epoch {epochs[len(epochs) // 2]} of {rises[0][1]} and has risen since."
        )
