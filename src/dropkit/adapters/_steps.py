"""Shared functions of all adapters."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, RMSprop
from torch.utils.hooks import RemovableHandle

from dropkit._drops import has_settable_rate
from dropkit.constrain import max_norm_
from dropkit.noise import Noise
from dropkit.schedule import Schedule
from dropkit.study import Trial
from dropkit.surgery import schedule_rates
from dropkit.thinned import Lazy


def rate_setter(
    model: nn.Module,
    schedule: Schedule | Mapping[str, Schedule],
    layers: Iterable[nn.Module] | None = None,
) -> Callable[[float], None]:
    """Return a function of the step that sets the rates of a model as scheduled.

    Args:
        model: the module to train.
        schedule: one for all, or one for each name or pattern of names of the model's rates.
        layers: the layers to set by one schedule; all of dropkit's with a rate to set if None.

    Raises:
        TypeError: if a schedule is not a function.
        ValueError: if there is no such layer, or a name fits no rate.
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

    For the optimizers of the Adam family it sets the first of the two betas.

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
    """Make the buffers that RMSprop makes at its first step only, and only with momentum."""
    for parameter, state in optimizer.state.items():
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(
                parameter, memory_format=torch.preserve_format
            )


def call_after_steps(
    optimizers: Iterable[Optimizer], act: Callable[[], object]
) -> list[RemovableHandle]:
    """Make every step of these optimizers end with a call.

    The call is part of the step. So it happens once per real step, even with gradient accumulation,
    not in a step that loss scaling skips, and before weights are averaged.
    """

    def call(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        # Fused optimizers are called in steps to skip as well, and told so by the loss scaler.
        found_inf = getattr(optimizer, "found_inf", None)
        if found_inf is None or not found_inf.item():
            act()

    return [unwrap_optimizer(optimizer).register_step_post_hook(call) for optimizer in optimizers]


def project_after_steps(
    optimizers: Iterable[Optimizer], target: nn.Module, c: float
) -> list[RemovableHandle]:
    """Make every step of these optimizers end with the projection onto the ball of radius c."""
    return call_after_steps(optimizers, lambda: max_norm_(target, c))


def add_penalty_gradient(run: Trial, model: nn.Module, rows: int) -> None:
    """Add the gradient of what a study's method adds to the loss, before the optimizer's step."""
    penalty = run.penalty(model, rows)
    if isinstance(penalty, Tensor):
        torch.autograd.backward(penalty)


def remove(hooks: list[RemovableHandle]) -> None:
    """Remove hooks, and clear the list."""
    while hooks:
        hooks.pop().remove()


def unwrap_optimizer(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer inside a library's wrapper.

    ``Lazy`` is not unwrapped, because its step ends after that of the inner optimizer.
    """
    while not isinstance(optimizer, Lazy) and isinstance(
        inner := getattr(optimizer, "optimizer", None), Optimizer
    ):
        optimizer = inner
    return optimizer


def check_one_way(
    schedule: Schedule | Mapping[str, Schedule], layers: Iterable[nn.Module] | None
) -> None:
    """Raise ``TypeError`` if layers are chosen both by name and by ``layers``."""
    if isinstance(schedule, Mapping) and layers is not None:
        raise TypeError("layers must be None if the schedules are given by name")
