"""Draw the samples of one model, with as many masks per pass as possible."""

import threading
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves, tree_map_only

from dropkit._cut import Parts, cut
from dropkit._draws import Draws, Generators
from dropkit._inputs import arguments
from dropkit._mode import device_of, dtype_of, mode
from dropkit._moments import Moments
from dropkit._twin import is_bound, share
from dropkit.errors import is_out_of_memory
from dropkit.noise import Noise
from dropkit.prediction._called import check_called
from dropkit.prediction._modes import check_modes
from dropkit.prediction._output import Wanted, check_output
from dropkit.prediction._sampling import Switches, switch_on

__all__ = ["Wanted", "add_samples"]

#: Held while a prediction sets the seed of torch's default generators, which are process-wide.
_TURN = threading.RLock()


def add_samples(
    found: Moments,
    model: nn.Module,
    x: Any,
    samples: int,
    wanted: Wanted,
    shared: bool,
    extra_modules: Collection[nn.Module],
    max_memory_bytes: int,
    seed: int,
) -> None:
    """Add the samples of one model to ``found``; if ``samples`` is 0, add its evaluation output."""
    if any(is_lazy(parameter) for parameter in model.parameters()):
        raise ValueError(
            f"{type(model).__name__} must be initialized, but it has lazy layers; run it once on "
            "an example"
        )
    args, kwargs = arguments(x, device_of(model), dtype_of(model))
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    single = isinstance(x, Tensor | np.ndarray)
    generators = Generators([*tensors, *model.parameters()])
    with _TURN:
        model, extra_modules = _to_switch(model, extra_modules)

        def call(model: nn.Module, args: Any) -> Any:
            copies = tree_map_only(Tensor, Tensor.clone, (args, kwargs))  # for in-place layers
            return model(*copies[0], **copies[1])

        def switch() -> Any:
            return switch_on(model, extra_modules)

        with mode(model, training=False):
            with generators.restore_generators():
                example = check_called(
                    model,
                    lambda: _try_few(call, model, args),
                    lambda: call(model, args),
                    switch,
                    samples,
                )
                if samples:
                    _check_modes(
                        model,
                        lambda: wanted.choose(_try_few(call, model, args))[0],
                        extra_modules,
                    )
            whole = wanted.of(model, example)
            if not samples:
                found.add(check_output(call(whole, args)).unsqueeze(0))
                return
            if single:
                parts = cut(whole, args[0], generators, switch, shared)
            else:
                with switch(), generators.restore_generators(), Draws() as draws:
                    call(whole, args)
                drawn = any(draws.sizes)
                parts = Parts(torch.empty(0), lambda _: call(whole, args), drawn, False, False, 0)
            if shared and not parts.independent:
                raise ValueError(
                    "shared=True needs independent examples along dimension 0 of one input and "
                    "of the output; use shared=False, which draws new masks for each pass"
                )
            with switch() as switches, generators.restore_generators():
                if not parts.draws:
                    raise ValueError(_no_variance(model, switches))
                generators.seed(seed)
                rows = 1 if shared else parts.inner.shape[:1].numel()
                together = max(1, max_memory_bytes // (parts.row_bytes * rows or 1))
                _run(parts, parts.inner, samples, together, shared, generators, found)
                if not found.vary:
                    raise ValueError(_no_variance(model, switches))


def _check_modes(
    model: nn.Module, run: Callable[[], Tensor], extra_modules: Collection[nn.Module]
) -> None:
    with switch_on(model) as switches:
        names = switches.switched_on
    on = {n: m for n, m in model.named_modules() if n in names and m not in extra_modules}
    check_modes(on, run, [*model.buffers()])


def _try_few(call: Callable[..., Any], model: nn.Module, args: tuple[Any, ...]) -> Any:
    """Run a model on the first two examples; if that fails, on all inputs."""
    if len(args) == 1 and isinstance(args[0], Tensor) and len(args[0]) > 2:
        try:
            return call(model, (args[0][:2],))
        except Exception:  # for example, the model needs a fixed batch size
            pass
    return call(model, args)


def _to_switch(
    model: nn.Module, extra_modules: Collection[nn.Module]
) -> tuple[nn.Module, Collection[nn.Module]]:
    """Return a private copy that shares the weights, or the model itself if copying fails."""
    if is_bound(model):
        return model, extra_modules
    try:
        copies = share(model)
    except TypeError:
        return model, extra_modules
    buffers = {buffer: buffer.clone() for buffer in model.buffers()}  # calls may change them
    for copy in copies.values():
        copy._buffers = {name: b if b is None else buffers[b] for name, b in copy._buffers.items()}
        if isinstance(copy, Noise):
            copy.seed = None  # each sample needs its own mask
    return copies[model], {copies.get(module, module) for module in extra_modules}


def _run(
    parts: Parts,
    inner: Tensor,
    samples: int,
    together: int,
    shared: bool,
    generators: Generators,
    found: Moments,
) -> None:
    one_pass = _same_masks(parts.rest, generators) if shared else _own_masks(parts.rest)
    done = 0
    together = together if parts.per_example else 1
    while done < samples:
        together = min(together, samples - done)
        state = generators.get()
        try:
            outputs = one_pass(inner, together)
        except RuntimeError as error:
            if together == 1 or not is_out_of_memory(error):
                raise
            together //= 2
            generators.set(state)
            continue
        found.add(outputs)
        done += together


def _own_masks(rest: Callable[[Tensor], Tensor]) -> Callable[[Tensor, int], Tensor]:
    """Run samples × examples as rows of one batch, ordered by sample."""

    def one_pass(inner: Tensor, together: int) -> Tensor:
        # Layers may work in place: every pass gets a copy.
        if together == 1:
            return check_output(rest(inner.clone())).unsqueeze(0)
        outputs = check_output(rest(inner.repeat(together, *[1] * (inner.dim() - 1))))
        return outputs.reshape(together, len(inner), *outputs.shape[1:])

    return one_pass


def _same_masks(
    rest: Callable[[Tensor], Tensor], generators: Generators
) -> Callable[[Tensor, int], Tensor]:
    """Run one example at a time with its samples as rows, each from the same random state."""

    def one_pass(inner: Tensor, together: int) -> Tensor:
        state = generators.get()
        outputs = []
        for example in inner:
            generators.set(state)
            outputs.append(check_output(rest(example.expand(together, *example.shape).clone())))
        return torch.stack(outputs, 1)

    return one_pass


def _no_variance(model: nn.Module, switches: Switches) -> str:
    layers = {name: layer for name, layer in model.named_modules() if name in switches.switched_on}
    found = "; ".join(f"{name or 'the model'} is {layer}" for name, layer in layers.items())
    left = "".join(f"; not switched on: {line}" for line in switches.left)
    return (
        f"{type(model).__name__} must drop something, but all samples are equal: found "
        f"{found or 'no dropout'}{left}. "
        "Add dropout with insert, set a rate between 0 and 1, or list the module that drops in "
        "training mode in extra_modules=[...]"
    )
