"""Check whether the model overfits or underfits with its current weights."""

from collections.abc import Callable, Iterable, Iterator
from math import isfinite, sqrt
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dropkit._doctor.finding import Finding
from dropkit._mode import device_of

#: (inputs, targets), or an iterable of such batches.
Data = tuple[Any, Any] | Iterable[tuple[Any, Any]]
#: Maps (outputs, targets) to one loss for each row.
Loss = Callable[[Any, Any], Tensor]

_Z = 3.0  # standard errors by which a difference must exceed the negligible one
_NEGLIGIBLE = 0.1  # negligible excess of the validation loss, as a fraction of that loss


class _Rows(NamedTuple):
    """The model's losses and outputs on some rows.

    Attributes:
        losses: one loss for each row.
        as_logits: binary cross-entropy of each row, if outputs are logits of class 1; None if a
            target is neither 0 nor 1.
        targets: the target of each row.
        outputs: the outputs of the last batch, for their shape.
    """

    losses: Tensor
    as_logits: Tensor | None
    targets: Tensor
    outputs: Any


def check_fit(model: nn.Module, data: tuple[Data, Data], loss: Loss | None) -> Iterator[Finding]:
    """Compare the training loss with the validation loss, and with the best constant prediction.

    Args:
        model: the model, in evaluation.
        data: training and validation data.
        loss: loss per row. Default: cross-entropy for integer targets; otherwise squared error, or
            binary cross-entropy if the targets are 0 and 1 and this loss fits the outputs better.
    """
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise ValueError(_form(data))
    training, validation = (_rows(model, part, loss) for part in data)
    constant = None
    if loss is None:
        training, validation, constant = _by_kind(training, validation)
    (train, train_error), (val, val_error) = (_mean(part.losses) for part in (training, validation))
    if not isfinite(train + val):
        yield Finding(
            "not-a-number",
            "",
            "error",
            f"the loss is {train:g} on training and {val:g} on validation rows",
            "first look for NaN and infinite numbers in the weights and the data",
        )
        return
    excess, error = val - train, sqrt(train_error**2 + val_error**2)
    if excess - _Z * error > _NEGLIGIBLE * val > 0:
        yield Finding(
            "overfit",
            "",
            "warning",
            f"the validation loss {val:.4g} ± {val_error:.2g} exceeds the training loss "
            f"{train:.4g} ± {train_error:.2g} by {excess / val:.0%} of the validation loss (± one "
            "standard error)",
            "add dropout or raise its rates, or take the weights of an earlier epoch; "
            "dropkit compare says which regularizer helps on this data",
        )
    if constant is None:
        return
    gain, error = _mean(constant - training.losses)
    # Not significantly better than a constant, although there are enough rows.
    if gain < _Z * error and gain + _Z * error < _NEGLIGIBLE * float(constant.mean()):
        yield Finding(
            "underfit",
            "",
            "warning",
            f"the training loss {train:.4g} ± {train_error:.2g} is not below that of the best "
            f"constant prediction, {float(constant.mean()):.4g}",
            "train longer or with another learning rate, or lower or remove dropout",
        )


@torch.no_grad()
def _rows(model: nn.Module, data: Data, loss: Loss | None) -> _Rows:
    many = tuple, list
    pair = isinstance(data, many) and len(data) == 2 and not isinstance(data[0], many)
    if not isinstance(data, Iterable) or isinstance(data, Tensor | np.ndarray):
        raise ValueError(_form(data))
    losses, as_logits, targets = [], [], []
    outputs: Any = torch.empty(0)
    device = device_of(model)
    for batch in [data] if pair else data:
        if not isinstance(batch, many) or len(batch) != 2:
            raise ValueError(_form(batch))
        x, y = batch
        inputs, target = _tensor(x, device), _tensor(y, device)
        try:
            outputs = model(inputs)
        except Exception as error:
            raise ValueError(
                f"{type(model).__name__} must run on the data in evaluation, but it fails: "
                f"{type(error).__name__}: {error}; give inputs of the model's shape and dtype"
            ) from error
        losses.append((loss or _loss)(outputs, target).double().flatten())
        if losses[-1].numel() != len(target):
            raise ValueError(
                f"loss must give one number for each of {len(target)} rows, got "
                f"{losses[-1].numel()}; with torch's losses pass reduction='none'"
            )
        as_logits.append(None if loss else _binary_cross_entropy(outputs, target))
        targets.append(target)
    if sum(map(len, losses)) < 2:
        raise ValueError("data must hold two or more rows for training and for validation")
    known = [batch for batch in as_logits if batch is not None]
    return _Rows(
        torch.cat(losses),
        torch.cat(known) if len(known) == len(as_logits) else None,
        torch.cat(targets),
        outputs,
    )


def _form(got: Any) -> str:
    size = f" of {len(got)}" if isinstance(got, tuple | list) else ""
    return (
        "data must be ((x, y), (x_validation, y_validation)), and a loader may replace each "
        f"pair; got {type(got).__name__}{size} in a pair's place"
    )


def _tensor(values: Any, device: torch.device) -> Any:
    if not isinstance(values, np.ndarray):
        return values
    tensor = torch.as_tensor(values, device=device)
    return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor


def _loss(outputs: Any, target: Tensor) -> Tensor:
    if isinstance(outputs, Tensor) and outputs.dim() == 2 and _classes(target):
        if len(target) and not 0 <= int(target.min()) <= int(target.max()) < outputs.shape[1]:
            raise ValueError(
                f"integer targets must be classes from 0 to {outputs.shape[1] - 1}, the columns of "
                f"the model's output, got {int(target.min())} to {int(target.max())}; give loss=..."
            )
        return F.cross_entropy(outputs, target.long(), reduction="none")
    if isinstance(outputs, Tensor) and outputs.numel() == target.numel():
        off = outputs.reshape(target.shape) - target.to(outputs.dtype)  # bool can't be subtracted
        return off.square().reshape(len(target), -1).mean(1)
    got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    raise ValueError(
        "without loss=..., the model must return logits (N, classes) for integer targets (N,), or "
        f"the shape of its targets; got {got} for {target.dtype} targets {tuple(target.shape)}"
    )


def _binary_cross_entropy(outputs: Tensor, target: Tensor) -> Tensor | None:
    """Return the loss of each row, if outputs are logits; None if a target is neither 0 nor 1."""
    if (outputs.dim() == 2 and _classes(target)) or not ((target == 0) | (target == 1)).all():
        return None
    logits, target = outputs.reshape(target.shape).double(), target.double()
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return losses.reshape(len(target), -1).mean(1)


def _classes(target: Tensor) -> bool:
    return target.dim() == 1 and not target.is_floating_point()


def _by_kind(training: _Rows, validation: _Rows) -> tuple[_Rows, _Rows, Tensor]:
    """Choose the loss for both sets of rows; also return the loss of the best constant.

    For targets of 0 and 1, outputs may be logits or values. Choose the interpretation with the
    smaller loss relative to the best constant prediction.
    """
    constant = _constant(training.targets, training.outputs)
    if training.as_logits is None or validation.as_logits is None:
        return training, validation, constant
    entropy = _entropy(training.targets)
    as_values = training.losses.mean() * entropy.mean()
    if not training.as_logits.mean() * constant.mean() < as_values:
        return training, validation, constant
    return (
        training._replace(losses=training.as_logits),
        validation._replace(losses=validation.as_logits),
        entropy,
    )


def _constant(targets: Tensor, outputs: Tensor) -> Tensor:
    """Return the loss of each row for the best constant: class frequencies, or the mean."""
    if outputs.dim() == 2 and _classes(targets):
        frequency = targets.long().bincount().double() / len(targets)
        return -frequency[targets.long()].log()
    rows = targets.double().reshape(len(targets), -1)
    return (rows - rows.mean(0)).square().mean(1)


def _entropy(targets: Tensor) -> Tensor:
    """Return the binary cross-entropy of each row for the frequencies of 1."""
    rows = targets.double().reshape(len(targets), -1)
    frequencies = rows.mean(0).expand_as(rows)
    return F.binary_cross_entropy(frequencies, rows, reduction="none").mean(1)


def _mean(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.std() / sqrt(len(values)))
