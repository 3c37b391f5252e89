"""What must hold of surgery, the doctor and prediction on any architecture."""

import random
from collections.abc import Callable, Iterator
from copy import deepcopy

import numpy as np
import torch
from torch import nn

from dropkit import doctor, predict
from dropkit._doctor.outputs import main, same, tensors
from dropkit._reach import find_uncalled
from dropkit.noise import Dropout
from dropkit.surgery import dropout_layers, insert, rates, replace, set_rates, strip


class Main(nn.Module):
    """Returns the one tensor of a model's output that counts."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, **inputs):
        return main(self.model(**inputs))


def run(model, inputs, seed, mode):
    """The tensors that a model returns, in a mode and from a seed; its buffers stay."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    with torch.no_grad():
        before = [buffer.clone() for buffer in model.buffers()]
        output = tensors(model.train(mode)(**deepcopy(inputs)))
        for buffer, value in zip(model.buffers(), before, strict=True):
            buffer.copy_(value)
    return output


def differ(model, inputs):
    """Whether passes in training differ."""
    first = run(model, inputs, 0, True)
    return any(not same(first, run(model, inputs, seed, True)) for seed in range(1, 6))


def called_modules(model, inputs, *, training=True):
    """Names of the modules that a pass calls."""
    called = set()
    hooks = [
        module.register_forward_hook(lambda *_, name=name: called.add(name))
        for name, module in model.named_modules()
    ]
    run(model, inputs, 0, training)
    for hook in hooks:
        hook.remove()
    return called


def undone(report, new, model, inputs):
    """What undo did not bring back."""
    back = report.undo(new)
    if str(back) != str(model) or rates(back) != rates(model):
        yield "undo: another model"
    if list(back.state_dict()) != list(model.state_dict()):
        yield "undo: other keys"
    if not same(run(back, inputs, 3, False), run(model, inputs, 3, False)):
        yield "undo: another output"


def check_insert(model, inputs) -> Iterator[str]:
    quiet = set_rates(model, 0.0)[0] if rates(model) else model
    noisy = differ(quiet, inputs)
    called = called_modules(deepcopy(quiet), inputs)
    called |= called_modules(deepcopy(quiet), inputs, training=False)
    for name, why in find_uncalled(quiet, forward_only=True).items():
        if name in called:
            yield f"insert: {name} was called, though it {why}"
    try:
        new, report = insert(quiet, Dropout(0.5))
    except ValueError as error:
        if "must hold an activation" not in str(error):
            yield f"insert: {error}"
        return
    acting = called_modules(new, inputs)
    idle = [name for name in report.changed if name in called and f"{name}.after" not in acting]
    never = [name for name in report.changed if name not in called]
    if idle:
        yield f"insert: nothing acts after {idle[:3]}"
    if never:
        yield f"insert: never called {never[:3]} of {len(report.changed)}"
    if not noisy and not differ(new, inputs):
        yield f"insert: no effect, {report}"
    if not same(run(new, inputs, 0, False), run(quiet, inputs, 0, False)):
        yield "insert: evaluation changed"
    yield from undone(report, new, quiet, inputs)


def check_replace(model, inputs) -> Iterator[str]:
    if not dropout_layers(model):
        return
    loud = set_rates(model, 0.5)[0]
    try:
        new, report = replace(loud)
    except ValueError as error:
        if "can be replaced" not in str(error):
            yield f"replace: {error}"
        return
    if not same(run(new, inputs, 0, False), run(loud, inputs, 0, False)):
        yield "replace: evaluation changed"
    called = called_modules(new, inputs) | called_modules(new, inputs, training=False)
    idle = [name for name in report.changed if name not in called]
    if idle:
        yield f"replace: never called {idle[:3]} of {len(report.changed)}"
    yield from undone(report, new, loud, inputs)


def check_rates(model, inputs) -> Iterator[str]:
    if not rates(model):
        return
    loud, report = set_rates(model, 0.5)
    yield from undone(report, loud, model, inputs)
    for kind, (new, report) in (("rates", set_rates(loud, 0.0)), ("strip", strip(loud))):
        if differ(new, inputs) and not report.left:
            yield f"{kind}: still differs at rate 0"
        yield from undone(report, new, loud, inputs)
    if not differ(loud, inputs):
        yield "rates: no effect at 0.5"
    if not same(run(loud, inputs, 0, False), run(model, inputs, 0, False)):
        yield "rates: evaluation changed"


def check_doctor(model, inputs) -> Iterator[str]:
    found = doctor(model, inputs)
    for finding in found.findings:
        if finding.severity == "error":
            yield f"doctor: {finding.check} {finding.path}: {finding.seen}"


def check_predict(model, inputs) -> Iterator[str]:
    loud = set_rates(model, 0.3)[0] if rates(model) else insert_or_none(model)
    if loud is None:
        return
    wrapped = Main(loud).eval()
    if not differ(deepcopy(loud), inputs):
        return
    try:
        got = predict(wrapped, inputs, 4, seed=0)
    except ValueError as error:
        if "some dropout layers are only called while" not in str(error):
            yield f"predict: {error}"
        return
    if not bool((got.variance > 0).any()):
        yield "predict: no variance"


def insert_or_none(model):
    try:
        return insert(model, Dropout(0.3))[0]
    except ValueError:
        return None


CELLS: dict[str, Callable] = {
    "insert": check_insert,
    "replace": check_replace,
    "rates": check_rates,
    "doctor": check_doctor,
    "predict": check_predict,
}
