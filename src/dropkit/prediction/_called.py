"""Check that the model calls every dropout layer that was switched on."""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import nn

from dropkit._draws import Draws
from dropkit._drops import is_dropout_layer
from dropkit._mode import module_modes
from dropkit.prediction._sampling import Switches

_CONTAINERS = nn.Sequential, nn.ModuleList, nn.ModuleDict


def check_called(
    model: nn.Module,
    run: Callable[[], Any],
    run_all: Callable[[], Any],
    switch: Callable[[], AbstractContextManager[Switches]],
    samples: int,
) -> Any:
    """Run a model with dropout on, and check that all its dropout layers are called.

    If ``samples`` is 0, the model runs without a check.

    Args:
        model: the model, in evaluation.
        run: runs the model on a few examples; its result is returned.
        run_all: runs the model on all examples, because a router may need more than a few to reach
            every layer.
        switch: returns a context manager that switches the model's dropout on.
        samples: the number of samples.

    Raises:
        ValueError: a module in evaluation mode calls its dropout layers in training mode only.

    Warns about layers that are not called in either mode.
    """
    if not samples:
        return run()
    modules = dict(model.named_modules())
    with switch() as switches:
        layers = {
            name: modules[name]
            for name in switches.switched_on
            if is_dropout_layer(modules[name]) and _has_rate(modules[name])
        }
        output, called = _watch(layers.values(), run)
        callers = {n: _caller(modules, n) for n, layer in layers.items() if layer not in called}
        # A parent that is switched on may only read the layer's rate and call dropout as a
        # function.
        idle = {n: layers[n] for n, caller in callers.items() if caller not in switches.switched_on}
        if idle:
            _, called = _watch(idle.values(), run_all)
            idle = {n: layer for n, layer in idle.items() if layer not in called}
        if not idle:
            return output
        asking = {modules[caller] for n in idle if (caller := callers[n]) is not None}
        waiting = _find_waiting(asking, [modules[n] for n in switches.switched_on], idle, run_all)
    waits = {name: callers[name] for name, layer in idle.items() if layer in waiting}
    if waits:
        named = "; ".join(f"{name!r} waits for {caller!r}" for name, caller in waits.items())
        missing = ", ".join(f"model.get_submodule({c!r})" for c in dict.fromkeys(waits.values()))
        raise ValueError(
            "some dropout layers are only called while their parent module is in training mode: "
            f"{named}. Without them the variance is too small; also switch on these modules with "
            f"extra_modules=[{missing}]"
        )
    warnings.warn(
        "these dropout layers are not called on x and do not contribute to the variance: "
        + ", ".join(idle),
        stacklevel=5,
    )
    return output


def _find_waiting(
    asking: Collection[nn.Module],
    on: Collection[nn.Module],
    idle: Mapping[str, nn.Module],
    run_all: Callable[[], Any],
) -> set[nn.Module]:
    """Return the idle layers that are called if the modules in ``asking`` are in training mode.

    The result is empty if these modules draw random numbers, for example to choose an expert: then
    chance may have called a layer, not the mode.
    """
    with (
        module_modes(on, training=False),
        module_modes(asking, training=True),
        _restore_buffers(asking),
        Draws() as draws,
    ):
        try:
            _, waiting = _watch(idle.values(), run_all)
        except Exception:  # the model may not support one module in training mode
            return set()
    return set() if any(draws.sizes) else waiting


@contextmanager
def _restore_buffers(modules: Collection[nn.Module]) -> Iterator[None]:
    """Restore the buffers of modules, because some modules update them in training mode."""
    before = [(b, b.clone()) for module in modules for b in module.buffers(recurse=False)]
    try:
        yield
    finally:
        for buffer, was in before:
            buffer.copy_(was)


def _watch(layers: Collection[nn.Module], run: Callable[[], Any]) -> tuple[Any, set[nn.Module]]:
    """Call ``run``, and return its output and the layers that were called."""
    called: set[nn.Module] = set()
    hooks = [layer.register_forward_pre_hook(lambda m, _: called.add(m)) for layer in layers]
    try:
        return run(), called
    finally:
        for hook in hooks:
            hook.remove()


def _has_rate(layer: nn.Module) -> bool:
    return getattr(layer, "p", None) != 0


def _caller(modules: dict[str, nn.Module], name: str) -> str | None:
    """Return the name of the closest parent with its own forward pass, or None."""
    while name:
        name = name.rpartition(".")[0]
        if not isinstance(modules[name], _CONTAINERS):
            return name
    return None
