"""Check that every call draws fresh masks, and that Monte-Carlo sampling uses them."""

from collections.abc import Collection, Iterator, Sequence

import torch

from dropkit._doctor.finding import Finding
from dropkit._doctor.outputs import main, same, tensors
from dropkit._doctor.sensitivity import find_cause
from dropkit._doctor.settings import list_rates
from dropkit._doctor.subject import Subject
from dropkit._doctor.watch import Run
from dropkit._drops import is_scripted, is_variant
from dropkit._reach import find_uncalled
from dropkit.prediction._sampling import switch_on

_TRIES = 32  # 32 tries miss 1 of 30 masks with drop probability 0.1


def find_reseeded(runs: Sequence[Run]) -> Iterator[Finding]:
    """Find modules that draw from a generator in the same state at every call.

    Args:
        runs: two runs with different seeds.
    """
    first, second = ({(d.module, d.source, d.state): d for d in run.draws} for run in runs)
    repeated = {draw.module: draw for key, draw in first.items() if key in second}
    for module, draw in repeated.items():
        at = f" at {draw.source}" if draw.source else ""
        yield _identical(
            module,
            f"draws{at} from a generator in the same state at every call, for any seed: its "
            "masks are always the same, and equal on every rank",
            "seed once, outside of forward: remove torch.manual_seed or generator.manual_seed "
            "from forward",
        )


def find_fixed_masks(subject: Subject, sampled: Run) -> Iterator[Finding]:
    """Find modules that perturb their input in the same way at every call, without random numbers.

    Args:
        subject: the model, in evaluation.
        sampled: a run with dropout on.
    """
    drawing = {draw.module for draw in sampled.draws}
    called = {call.module for call in sampled.calls}
    extreme = {name for name, p in list_rates(subject.model) if p == 1}
    with switch_on(subject.model) as switches:
        candidates = [name for name in switches.switched_on if name in called]
    found: list[str] = []
    for name in reversed(candidates):  # children before their parents
        below = drawing | extreme | set(found)
        if any(_within(other, name) for other in below):
            continue
        module = subject.modules[name]
        plain = subject.run(0, keep=name).kept
        module.training = True
        try:
            one, two = (subject.run(seed, keep=name).kept for seed in (1, 2))
        finally:
            module.training = False
        if same(one, two) and not same(one, plain):
            found.append(name)
            yield _identical(
                name,
                "perturbs its input in training without drawing random numbers: its mask is the "
                "same at every call, and on every rank",
                "draw a mask at every call, without a fixed seed",
            )


def check_sampling(
    subject: Subject, training: Sequence[Run], sampled: Sequence[Run], explained: Collection[str]
) -> Iterator[Finding]:
    """Find dropout that Monte-Carlo samples do not include, and why samples do not differ.

    Args:
        subject: the model.
        training: runs in training mode; empty if the model fails there.
        sampled: runs with dropout switched on by ``sampling``.
        explained: modules that draw the same masks each time, found by other checks.
    """
    drawn = {draw.module: draw for run in training for draw in run.draws}
    seen = {draw.module for run in sampled for draw in run.draws}
    missed = {name: draw for name, draw in drawn.items() if name not in seen}
    first = sampled[0].output  # without a tensor, differences are not visible
    vary = not first or any(not same(run.output, first) for run in sampled[1:])
    called = {call.module for run in sampled for call in run.calls}
    for name, draw in missed.items():
        # Sampling does not include other training noise, such as that of a VAE. Dropout in an
        # auxiliary head does not affect the prediction.
        if not draw.drops or not _predicts(subject, name):
            continue
        at = f" at {draw.source}" if draw.source else ""
        if name in called:
            yield _certain(
                name,
                f"drops in training{at}, and not while sampling",
                "pass the module to sampling(model, extra_modules=[...]), or read self.training in "
                "a statement that names the dropout",
            )
        else:
            yield _certain(
                name,
                f"drops in training{at}, and is not called while sampling",
                "call the layer in evaluation too, where its mode disables it, or pass the module "
                "that calls it to sampling(model, extra_modules=[...])",
            )
    called |= {call.module for run in training for call in run.calls}
    yield from _find_never_called(subject, called)
    rates = dict(list_rates(subject.model))
    if vary or explained or 1 in rates.values():
        return
    for name in sorted(seen - {name for name, p in rates.items() if p == 0}):
        yield _explain(subject, name, len(sampled), rates.get(name))


def _find_never_called(subject: Subject, called: Collection[str]) -> Iterator[Finding]:
    """Find dropout layers that no run called: a warning if no code calls them, otherwise a note."""
    uncalled = find_uncalled(subject.model, forward_only=False)
    for name, p in list_rates(subject.model):
        # Calls inside these modules are not visible: they run compiled code or copies.
        held = any(is_scripted(m) or is_variant(m) for m in subject.parents(name))
        if not 0 < p < 1 or name in called or held:
            continue
        never = name in uncalled
        yield Finding(
            "never-called",
            name,
            "warning" if never else "note",
            f"is a dropout layer with p = {p:g}, but "
            + (uncalled[name] if never else "it was not called on the example"),
            "call it in forward, or remove it" if never else "pass an example that reaches it",
        )


def _explain(subject: Subject, name: str, samples: int, p: float | None) -> Finding:
    evidence = f"draws random numbers, but all {samples} samples of the output are equal"
    cause = find_cause(subject, name, samples)
    if cause == "weak":
        return Finding(
            "no-variance",
            name,
            "note",
            f"{evidence}: the output hardly depends on them, for example because a later layer "
            "scale or head is near zero before training",
            "examine the model again after training",
        )
    if cause == "still" and p is not None:
        return Finding(
            "no-variance",
            name,
            "note",
            f"{evidence}, and so are all results of the module: at p = {p:g} and on this example "
            "it dropped nothing that is not 0",
            "pass an example with more rows, or one for which its input is not 0",
        )
    return _certain(name, evidence, "use the result of the dropout: it must reach the output")


def _predicts(subject: Subject, name: str) -> bool:
    """Whether the prediction in training changes if only this module draws other numbers."""
    subject.model.train()
    try:
        first: list[torch.Tensor] = []
        for seed in range(_TRIES):
            with torch.no_grad(), subject.redrawn(name, seed):
                output = tensors(main(subject.call(0)))
            first = first or output
            if not output or not same(first, output):  # without a tensor, assume that it changes
                return True
        return False
    finally:
        subject.model.eval()


def _identical(path: str, evidence: str, remedy: str) -> Finding:
    return Finding("identical-masks", path, "error", evidence, remedy)


def _certain(path: str, evidence: str, remedy: str) -> Finding:
    return Finding("no-variance", path, "error", evidence, remedy)


def _within(name: str, parent: str) -> bool:
    return not parent or name == parent or name.startswith(f"{parent}.")
