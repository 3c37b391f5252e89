"""Run every check of the doctor on a copy of the model, and collect the findings."""

import re
from collections.abc import Iterator
from typing import Any

from torch import nn

from dropkit._doctor.evaluation import check_evaluation
from dropkit._doctor.finding import Diagnosis, Finding
from dropkit._doctor.fit import Data, Loss, check_fit
from dropkit._doctor.gradients import check_gradients
from dropkit._doctor.masks import check_sampling, find_fixed_masks, find_reseeded
from dropkit._doctor.placement import check_batch_norm, check_placement
from dropkit._doctor.settings import check_max_norm, check_rates, check_recurrent
from dropkit._doctor.subject import Subject
from dropkit._doctor.watch import Run, same
from dropkit.prediction._sampling import switch_on

__all__ = ["doctor"]

_PATH = re.compile(r"drop_?path|stochastic_?depth", re.IGNORECASE)
_PASSES = 8  # over which a variance is averaged
_SAMPLES = 64  # until samples that draw must differ


def doctor(
    model: nn.Module,
    example: Any = None,
    *,
    data: tuple[Data, Data] | None = None,
    loss: Loss | None = None,
) -> Diagnosis:
    """Find mistakes with dropout in a model, and where they are.

    ======================== ======================================================================
    check                    what is found
    ======================== ======================================================================
    ``functional-dropout``   ``F.dropout`` and the like that drop in evaluation
    ``attention-dropout``    attention that drops in evaluation
    ``dropout-stays-on``     dropout in a module that ``model.eval()`` leaves in training mode
    ``nondeterministic-eval`` anything else that makes two runs in evaluation differ
    ``one-layer-rnn``        ``nn.LSTM(dropout=...)`` with one layer, where it does nothing
    ``rate``                 p = 1, and p = 0 as a note
    ``doubled``              units dropped twice with nothing between that mixes them
    ``on-output``            dropout on the model's output
    ``before-batch-norm``    a batch normalization whose input has another variance in training
    ``identical-masks``      the same masks at every call, and so on every rank
    ``no-variance``          samples of Monte-Carlo dropout that do not differ, or leave one out
    ``never-called``         dropout layers that forward never calls
    ``no-gradient``          layers skipped at random, whose parameters then have no gradient
    ``max-norm-axis``        weights whose outgoing vectors were held to one norm
    ``not-a-number``         NaN in the output or the loss, beside which nothing can be judged
    ``overfit``, ``underfit`` by the losses on ``data``, beyond three standard errors
    ======================== ======================================================================

    The doctor runs a copy of the model without tracing it. The model itself, the states of random
    generators and global hooks do not change.

    Args:
        model: any module.
        example: input to run it on: a tensor, a tuple of positional arguments or a mapping of
            keyword arguments. Give a few rows, because batch normalization needs at least two in
            training. Without an example only settings and weights are examined.
        data: a pair of training and validation data, each (inputs, targets) or an iterable of such
            batches; tensors or arrays. With it, the doctor checks for over- and underfitting.
        loss: maps (outputs, targets) to one loss for each row. By default cross-entropy for integer
            targets, squared error otherwise, or binary cross-entropy of logits where that fits
            targets of 0 and 1 better.

    Returns:
        A `Diagnosis`: the findings, and what could not be examined.

    Raises:
        TypeError: ``model`` is not a module.
        ValueError: it cannot be copied, or fails on the example or the data in evaluation.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Dropout(0.5))
    >>> for finding in doctor(net, torch.randn(5, 4)).findings:
    ...     print(finding.path, finding.check)
    3 on-output

    Reference: for dropout before batch normalization, Li, Chen, Hu & Yang, "Understanding the
    disharmony between dropout and batch normalization by variance shift" (2019). Here the shift is
    measured, not derived.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    findings = [*check_recurrent(model), *check_rates(model), *check_max_norm(model)]
    skipped: list[str] = []
    if example is None:
        skipped.append("all checks that run the model: no example was given")
    if example is not None or data is not None:
        subject = Subject(model, () if example is None else example)
        with subject.restore_random_state():
            # First, since passes in training mode move the statistics of batch normalization.
            fitted = [] if data is None else list(check_fit(subject.model.eval(), data, loss))
            if example is not None:
                findings += _examine(subject, skipped)
            findings += fitted
    findings = list(dict.fromkeys(findings))
    findings.sort(key=lambda finding: ("error", "warning", "note").index(finding.severity))
    return Diagnosis(tuple(findings), tuple(skipped))


def _examine(subject: Subject, skipped: list[str]) -> Iterator[Finding]:
    model = subject.model.eval()
    try:
        plain = [subject.run(seed, bits=True) for seed in (1, 2)]
    except Exception as error:
        raise ValueError(
            f"{type(model).__name__} must run on the example in evaluation, but it fails: "
            f"{_say(error)}"
        ) from error
    if not plain[0].output:
        skipped.append(
            "whether two runs differ: the model's output contains no tensor; return a tensor, "
            "or a tuple, mapping or object with tensors"
        )
    if any(tensor.isnan().any() for tensor in plain[0].output):
        yield Finding(
            "not-a-number",
            "",
            "error",
            "its output in evaluation contains NaN, so nothing else can be checked",
            "first remove NaN from the weights and the example",
        )
        return
    yield from check_evaluation(plain)

    sampled: list[Run] = []
    try:
        with switch_on(model):
            sampled = _samples(subject)
        with switch_on(model):
            _switch_off_drop_path(model)
            noisy = [subject.run(seed) for seed in range(_PASSES if plain[0].norms else 0)]
    except Exception as error:
        skipped.append(f"Monte-Carlo sampling, variances: with dropout on it fails, {_say(error)}")
    else:
        yield from check_batch_norm(plain[0], noisy)

    training: list[Run] = []
    model.train()
    try:
        training = [subject.run(seed) for seed in (1, 2)]
    except Exception as error:
        skipped.append(f"placement, gradients: in training mode it fails, {_say(error)}")
    if training:
        yield from check_placement(training[0])
        if any(run.branches for run in training):
            yield from check_gradients(subject)
    model.eval()
    runs = training or sampled[:2]
    identical = [
        *(find_reseeded(runs) if runs else ()),
        *(find_fixed_masks(subject, sampled[0]) if sampled else ()),
    ]
    yield from identical
    if sampled:
        yield from check_sampling(subject, training, sampled, [found.path for found in identical])


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _samples(subject: Subject) -> list[Run]:
    """Runs until two differ: rare masks, such as those of drop-path, may take many."""
    runs = [subject.run(1), subject.run(2)]
    may_differ = runs[0].draws and runs[0].output
    while may_differ and same(runs[0].output, runs[-1].output) and len(runs) < _SAMPLES:
        runs.append(subject.run(len(runs) + 1))
    return runs


def _switch_off_drop_path(model: nn.Module) -> None:
    """Stochastic depth is commonly used with batch normalization, and its shift is small."""
    for module in model.modules():
        if _PATH.search(type(module).__name__):
            module.training = False
