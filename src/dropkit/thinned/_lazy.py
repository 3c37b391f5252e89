"""An optimizer that does not update weights of dropped units."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from dropkit.thinned import _matrix as matrix
from dropkit.thinned._forwards import Product
from dropkit.thinned._linear import Kept
from dropkit.thinned._update import Block, update

# Elementwise optimizers: updating a part of a parameter gives the same values as updating the
# whole.
_ELEMENTWISE = (
    torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam,
    torch.optim.Adamax, torch.optim.Adagrad, torch.optim.Adadelta, torch.optim.RMSprop,
)  # fmt: skip


class LazyOptimizer(Optimizer):
    """Update only those weights of a network from `thin` that were kept since the last step.

    Let K and L be the kept rows and columns of a weight W, and s the optimizer's state:

    ``W[K, L], s[K, L] = update(W[K, L], ∇W[K, L], s[K, L])``

    The rest of W and s does not change: neither momentum, nor moving averages, nor weight decay act
    on dropped weights. Without this class, the optimizer updates all weights, as with ordinary
    dropout. Step counters, for Adam's bias correction, count every step. Biases, attention, and
    weights that are not owned by exactly one thinned linear or convolutional layer, such as
    parameters that two modules share, get ordinary updates.

    If a step uses several masks, because ``thin`` has several groups or gradients are accumulated,
    K and L are the rows and columns that at least one mask keeps. If other parts of the loss or the
    model also use W, their gradients only change kept weights. Examples are a penalty in the loss,
    or another use of the weight in the forward pass, such as ``F.linear(h,
    self.decoder.weight.t())``.

    After ``undo`` of the plan from ``thin``, or another call of ``thin``, all weights are updated.
    To update only kept weights, create a new ``LazyOptimizer`` from ``optimizer``.

    Args:
        optimizer: an elementwise optimizer of torch.optim. Its options and its state are shared,
            not copied.
        model: the result of ``thin``, whose parameters the optimizer updates.

    Raises:
        TypeError: the optimizer is not elementwise, or not from torch.optim.
        ValueError: the model has no thinned layer.
        RuntimeError: at a step, if there are several data-parallel ranks, which keep different
            units.

    >>> import dropkit
    >>> net = nn.Sequential(nn.Linear(4, 400), nn.ReLU(), nn.Dropout(), nn.Linear(400, 1))
    >>> net, _ = dropkit.thin(net)
    >>> optimizer = LazyOptimizer(torch.optim.Adam(net.parameters(), weight_decay=0.1), net)
    >>> before = net[0].weight.clone()
    >>> net(torch.randn(200, 4)).square().mean().backward()
    >>> optimizer.step()
    >>> moved = (net[0].weight != before).any(1).sum()
    >>> int(moved)
    200

    Reference: LazyAdam of TensorFlow Addons and `torch.optim.SparseAdam`, which update only the
    used rows of embeddings. This class does the same for rows and columns of thinned layers.
    """

    def __init__(self, optimizer: Optimizer, model: nn.Module) -> None:
        if type(optimizer) not in _ELEMENTWISE:
            names = ", ".join(kind.__name__ for kind in _ELEMENTWISE)
            raise TypeError(
                f"optimizer must be one of torch's elementwise optimizers {names}; got "
                f"{type(optimizer).__module__}.{type(optimizer).__name__}"
            )
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self.optimizer = optimizer
        del self.param_groups, self.state  # so that __getattr__ reads both from the optimizer
        uses: dict[nn.Parameter, int] = {}
        for _, parameter in model.named_parameters(remove_duplicate=False):
            uses[parameter] = uses.get(parameter, 0) + 1
        self._products: dict[nn.Parameter, Product] = {}
        own = {parameter for group in self.param_groups for parameter in group["params"]}
        for module in model.modules():
            product = module.__dict__.get("forward")
            if not isinstance(product, Product) or product.module.weight not in own:
                continue
            if uses.get(product.module.weight) == 1:
                self._products[product.module.weight] = product
                passes: list[tuple[Kept, Kept]] = []
                product.passes = passes
                weakref.finalize(self, _forget, product, passes)
        if not self._products:
            raise ValueError(
                f"{type(model).__name__} must have a thinned linear or convolutional layer with "
                "weights of its own, but has none; call dropkit.thin first"
            )

    def __getattr__(self, name: str) -> Any:
        """Read groups and state from the optimizer, which replaces both when it loads a state."""
        if name in ("param_groups", "state"):
            return getattr(self.optimizer, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __getstate__(self) -> Any:
        raise TypeError(
            "LazyOptimizer records the passes of its model, so it cannot be copied or pickled; "
            "save its state_dict(), or copy the model with the wrapped optimizer and wrap the copy"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state dict of the wrapped optimizer."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state dict of an ordinary or a lazy optimizer."""
        self.optimizer.load_state_dict(state_dict)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group to the wrapped optimizer."""
        if hasattr(self, "optimizer"):
            self.optimizer.add_param_group(param_group)
        else:
            super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Call ``closure``, update the kept weights, and return the result of the closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        spread = distributed.is_available() and distributed.is_initialized()
        if spread and distributed.get_world_size() > 1:
            raise RuntimeError(
                "lazy updates need one process: data-parallel ranks keep different units, whose "
                "gradients are averaged; use the optimizer itself"
            )
        wholes = [group["params"] for group in self.param_groups]
        parts: list[tuple[nn.Parameter, nn.Parameter, Block]] = []
        try:
            for group in self.param_groups:
                group["params"] = self._rest(group, parts)
            self.optimizer.step()
        finally:
            for group, parameters in zip(self.param_groups, wholes, strict=True):
                group["params"] = parameters
            for whole, part, block in parts:
                self._put_back(whole, part, block)
        return loss

    def _rest(
        self, group: dict[str, Any], parts: list[tuple[nn.Parameter, nn.Parameter, Block]]
    ) -> list[nn.Parameter]:
        """Update weights in place if possible; return the other weights, or their kept parts."""
        rest = []
        for whole in group["params"]:
            block = self._block(whole)
            if block is None:
                rest.append(whole)
            elif not update(self.optimizer, group, whole, self.state[whole], block):
                rest.append(self._part(whole, block))
                parts.append((whole, rest[-1], block))
        return rest

    def _block(self, whole: nn.Parameter) -> Block | None:
        """Return the rows and columns of a parameter to update; None for all of the parameter."""
        product = self._products.get(whole)
        if product is None or not product.passes:
            return None
        if whole.grad is None:  # no backward pass, or a frozen weight
            product.passes.clear()
            return None
        rows, columns = map(_joined, zip(*product.passes, strict=True))
        product.passes.clear()
        return None if rows is None and columns is None else (rows, columns)

    def _part(self, whole: nn.Parameter, block: Block) -> nn.Parameter:
        part = nn.Parameter(matrix.cut(whole.detach(), *block))
        assert whole.grad is not None
        part.grad = matrix.cut(whole.grad, *block)
        if whole in self.state:
            self.state[part] = {
                key: matrix.cut(value, *block) if _is_like(value, whole) else value
                for key, value in self.state[whole].items()
            }
        return part

    def _put_back(self, whole: nn.Parameter, part: nn.Parameter, block: Block) -> None:
        matrix.write(whole.detach(), part.detach(), *block)
        state = self.state[whole]
        for key, value in self.state.pop(part, {}).items():
            if _is_like(value, part):
                if key not in state:
                    state[key] = torch.zeros_like(whole)
                matrix.write(state[key], value, *block)
            else:
                state[key] = value


def _forget(product: Product, passes: list[Any]) -> None:
    """Stop recording passes for a deleted optimizer, unless a newer optimizer records them."""
    if product.passes is passes:
        product.passes = None


def _joined(kept: Sequence[Sequence[Tensor] | None]) -> Tensor | None:
    """Return the union of the indices over all groups and passes; None if a pass kept all units."""
    found = [index for some in kept if some is not None for index in some]
    if any(some is None for some in kept):
        return None
    return found[0] if len(found) == 1 else torch.unique(torch.cat(found))


def _is_like(value: Any, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape
