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
from dropkit._doctor.outputs import same
from dropkit._doctor.placement import check_batch_norm, check_placement
from dropkit._doctor.settings import check_max_norm, check_rates, check_recurrent
from dropkit._doctor.subject import Subject
from dropkit._doctor.watch import Run
from dropkit.prediction._sampling import switch_on

__all__ = ["doctor"]

_PATH = re.compile(r"drop_?path|stochastic_?depth", re.IGNORECASE)
_PASSES = 8  # number of passes to average a variance
_SAMPLES = 64  # maximum number of samples until two must differ


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
    ``one-layer-rnn``        ``nn.LSTM(dropout=...)`` with one layer, where dropout does nothing
    ``rate``                 p = 1, which drops everything; p = 0 gives only a note
    ``doubled``              units dropped twice, with no layer in between that mixes units
    ``on-output``            dropout on the model's output
    ``before-batch-norm``    batch normalization whose input has another variance in training
    ``identical-masks``      the same masks at every call (and on every data-parallel rank)
    ``no-variance``          Monte-Carlo samples that do not differ, or omit a dropout layer's noise
    ``never-called``         dropout layers that forward never calls
    ``no-gradient``          randomly skipped layers, whose parameters then have no gradient
    ``max-norm-axis``        max-norm applied to outgoing instead of incoming weights
    ``not-a-number``         NaN in the output or the loss, which prevents further checks
    ``overfit``, ``underfit`` over- or underfitting on ``data``, by more than three standard errors
    ======================== ======================================================================

    The doctor runs a copy of the model without tracing it. The model itself, the states of random
    generators and global hooks do not change.

    Args:
        model: any module.
        example: inputs of the model: a tensor, a tuple of positional arguments or a mapping of
            keyword arguments. Give a few rows, because batch normalization needs at least two in
            training. Without an example, the doctor only examines settings and weights.
        data: a pair of training and validation data, each (inputs, targets) or an iterable of such
            batches; tensors or arrays. If given, the doctor also checks for overfitting and
            underfitting.
        loss: function of (outputs, targets) that returns one loss for each row. Default:
            cross-entropy for integer targets; otherwise squared error, or binary cross-entropy of
            logits if the targets are 0 and 1 and this loss fits the outputs better.

    Returns:
        A `Diagnosis`: the findings, and the checks that could not run.

    Raises:
        TypeError: ``model`` is not a module.
        ValueError: the model cannot be copied, or fails on the example or the data in evaluation.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Dropout(0.5))
    >>> for finding in doctor(net, torch.randn(5, 4)).findings:
    ...     print(finding.path, finding.check)
    3 on-output

    Reference: for dropout before batch normalization, Li, Chen, Hu & Yang, "Understanding the
    disharmony between dropout and batch normalization by variance shift" (2019). The paper derives
    the shift of the variance; the doctor measures it.
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
            # Check the fit first: passes in training mode change the statistics of batch
            # normalization.
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
    """Run until two outputs differ; rare masks, such as those of drop-path, may need many runs."""
    runs = [subject.run(1), subject.run(2)]
    may_differ = runs[0].draws and runs[0].output
    while may_differ and same(runs[0].output, runs[-1].output) and len(runs) < _SAMPLES:
        runs.append(subject.run(len(runs) + 1))
    return runs


def _switch_off_drop_path(model: nn.Module) -> None:
    """Switch stochastic depth off, because it is common and hardly shifts the variance."""
    for module in model.modules():
        if _PATH.search(type(module).__name__):
            module.training = False
