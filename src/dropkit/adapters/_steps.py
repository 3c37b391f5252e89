"""Shared functions of all adapters."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, RMSprop
from torch.utils.hooks import RemovableHandle

from dropkit._drops import has_settable_rate
from dropkit._step_hooks import call_after_steps
from dropkit.constrain import max_norm_
from dropkit.noise import Noise
from dropkit.schedule import Schedule
from dropkit.surgery import schedule_rates


def rate_setter(
    model: nn.Module,
    schedule: Schedule | Mapping[str, Schedule],
    layers: Iterable[nn.Module] | None = None,
) -> Callable[[float], None]:
    """Return a function that sets the rates of a model for a given step, according to schedules.

    Args:
        model: the module to train.
        schedule: a single schedule, or a mapping from names or name patterns to schedules.
        layers: the layers that a single schedule sets; None means all dropkit layers with a
            settable rate.

    Raises:
        TypeError: if a schedule is not a function.
        ValueError: if the model has no such layer, or a name matches no rate.
    """
    if isinstance(schedule, Mapping):
        return schedule_rates(model, schedule)
    if not callable(schedule):
        raise TypeError(
            "schedule must be a function from the step to a rate, such as "
            f"dropkit.schedule.constant(p), or one for each name, got {schedule!r}"
        )
    if layers is None:
        layers = (m for m in model.modules() if isinstance(m, Noise) and has_settable_rate(m))
    chosen: list[Any] = list(layers)
    if not chosen:
        raise ValueError(
            "RateSchedule must find a dropkit layer with a rate p, but the model has none; "
            "insert one, convert nn.Dropout with dropkit.surgery.replace, or pass {'*': schedule}, "
            "which also sets nn.Dropout"
        )

    def set_step(step: float) -> None:
        rate = schedule(step)
        for layer in chosen:
            layer.p = rate

    return set_step


def momentum_setter(optimizers: Iterable[Optimizer]) -> Callable[[float], None]:
    """Return a function that sets the momentum of these optimizers.

    For optimizers of the Adam family, the function sets the first of the two betas.

    Raises:
        ValueError: if an optimizer has neither ``momentum`` nor ``betas``.
    """
    chosen = list(optimizers)
    for optimizer in chosen:
        if not {"momentum", "betas"} & optimizer.defaults.keys():
            raise ValueError(
                f"MomentumSchedule must find a momentum to set, but {type(optimizer).__name__} "
                "has none; use SGD, RMSprop or one of the Adam family"
            )

    def set_momentum(momentum: float) -> None:
        for optimizer in chosen:
            for group in optimizer.param_groups:
                if "momentum" in group:
                    group["momentum"] = momentum
                else:
                    group["betas"] = (momentum, *group["betas"][1:])
            if momentum > 0 and isinstance(optimizer, RMSprop):
                _make_buffers(optimizer)

    return set_momentum


def _make_buffers(optimizer: RMSprop) -> None:
    """Create momentum buffers, which RMSprop only creates if its first step has momentum."""
    for parameter, state in optimizer.state.items():
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(
                parameter, memory_format=torch.preserve_format
            )


def project_after_steps(
    optimizers: Iterable[Optimizer], target: nn.Module, c: float
) -> list[RemovableHandle]:
    """Project the weights onto the ball of radius c at the end of every optimizer step."""
    return call_after_steps(optimizers, lambda: max_norm_(target, c))


def check_one_way(
    schedule: Schedule | Mapping[str, Schedule], layers: Iterable[nn.Module] | None
) -> None:
    """Raise ``TypeError`` if both names and ``layers`` select layers."""
    if isinstance(schedule, Mapping) and layers is not None:
        raise TypeError("layers must be None if the schedules are given by name")
