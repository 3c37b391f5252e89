"""Check that the model is deterministic in evaluation."""

from collections.abc import Iterator, Sequence

from dropkit._doctor.finding import Finding
from dropkit._doctor.outputs import same
from dropkit._doctor.watch import Draw, Run


def check_evaluation(runs: Sequence[Run]) -> Iterator[Finding]:
    """Find dropout that is on in evaluation, and other reasons why two runs differ.

    Args:
        runs: two runs in evaluation with different seeds, with hashes of inputs and outputs.
    """
    first, second = runs
    draws = [draw for run in runs for draw in run.draws]
    dropping = _by_place([draw for draw in draws if draw.drops])
    for draw in dropping:
        yield _dropout(draw)
    if same(first.output, second.output):
        return
    others = _by_place([draw for draw in draws if not draw.drops])
    for draw in others:
        yield Finding(
            "nondeterministic-eval",
            draw.module,
            "error",
            f"two runs in evaluation differ, because the module draws random numbers{_at(draw)}",
            "draw only if self.training, or from a generator that the caller passes",
        )
    if not draws:
        yield Finding(
            "nondeterministic-eval",
            _where_it_begins(first, second),
            "error",
            "two runs in evaluation on the same input differ, though no random numbers are drawn",
            "the module keeps state between calls, such as a counter or a buffer: change the "
            "state only if self.training",
        )


def _dropout(draw: Draw) -> Finding:
    if draw.training and draw.stranger:
        return Finding(
            "dropout-stays-on",
            draw.module,
            "error",
            f"drops in evaluation{_at(draw)}: model.eval() does not reach the {draw.stranger} "
            "that it calls, which is not a submodule",
            f"create the {draw.stranger} in __init__ and store it as an attribute, or several in "
            "an nn.ModuleList",
        )
    if draw.training:
        return Finding(
            "dropout-stays-on",
            draw.module,
            "error",
            "drops in evaluation: its mode after model.eval() is training=True",
            "make the mode reach the module: call super().train(mode) in your own train(), and "
            "do not set training by hand",
        )
    if draw.attention:
        return Finding(
            "attention-dropout",
            draw.module,
            "error",
            f"attention drops in evaluation{_at(draw)}",
            "pass dropout_p=self.p if self.training else 0.0, or use nn.MultiheadAttention",
        )
    return Finding(
        "functional-dropout",
        draw.module,
        "error",
        f"drops in evaluation{_at(draw)}: {draw.operation} is called in every mode",
        "pass training=self.training, or use a layer such as nn.Dropout",
    )


def _at(draw: Draw) -> str:
    return f" at {draw.source}" if draw.source else ""


def _by_place(draws: Sequence[Draw]) -> list[Draw]:
    """Return one draw for each module, line and kind of cause."""
    return list({(d.module, d.source, d.attention, d.stranger): d for d in draws}.values())


def _where_it_begins(first: Run, second: Run) -> str:
    """Return the first module that returns different outputs for the same input."""
    for one, two in zip(first.calls, second.calls, strict=False):
        if one.module == two.module and one.inputs == two.inputs and one.outputs != two.outputs:
            return one.module
    return ""
