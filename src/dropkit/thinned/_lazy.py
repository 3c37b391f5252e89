"""An optimizer that leaves alone what a step has dropped."""

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

# Element by element, so that a part of a parameter moves as it does within the whole.
_ELEMENTWISE = (
    torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam,
    torch.optim.Adamax, torch.optim.Adagrad, torch.optim.Adadelta, torch.optim.RMSprop,
)  # fmt: skip


class Lazy(Optimizer):
    """Update of a thinned net only what its sub-networks kept since the last step.

    With K and L the rows and columns of a weight W that were kept, and s the optimizer's state

    ``W[K, L], s[K, L] = update(W[K, L], ∇W[K, L], s[K, L])``

    and nothing else of W or s moves: momentum and averages of what was dropped stay until it is
    kept again, and weight decay passes it over. Dense updates, the default without this class,
    move all of it, as after ordinary dropout. Counters of steps (the bias correction of Adam)
    count every step. Biases, attention and all parameters that no thinned linear or convolutional
    layer owns alone, those that two layers share for instance, are updated as ever.

    Other masks of a step, those of groups and of accumulated gradients, are joined: K and L are
    then all rows and columns that one of them kept. A gradient from elsewhere than the layer counts
    only where W moves: that of a penalty in the loss, or of a weight tied by a call,
    ``F.linear(h, self.decoder.weight.t())``.

    Once the model is undone or thinned again, updates are dense: then wrap ``optimizer`` anew.

    Args:
        optimizer: one of torch.optim that acts element by element; it keeps its options and its
            state, which this class shares.
        model: what ``thin`` returned, whose parameters the optimizer has.

    Raises:
        TypeError: the optimizer does not act element by element, or is not torch's.
        ValueError: nothing in the model is thinned.
        RuntimeError: in a step with several data-parallel ranks, which keep different units.

    >>> import dropkit
    >>> net = nn.Sequential(nn.Linear(4, 400), nn.ReLU(), nn.Dropout(), nn.Linear(400, 1))
    >>> net, _ = dropkit.thin(net)
    >>> optimizer = Lazy(torch.optim.Adam(net.parameters(), weight_decay=0.1), net)
    >>> before = net[0].weight.clone()
    >>> net(torch.randn(200, 4)).square().mean().backward()
    >>> optimizer.step()
    >>> moved = (net[0].weight != before).any(1).sum()
    >>> int(moved)
    200

    Reference: the lazy Adam of TensorFlow Addons does so for rows of embeddings, as
    `torch.optim.SparseAdam` does; here for the rows and columns of a thinned layer.
    """

    def __init__(self, optimizer: Optimizer, model: nn.Module) -> None:
        if type(optimizer) not in _ELEMENTWISE:
            names = ", ".join(kind.__name__ for kind in _ELEMENTWISE)
            raise TypeError(
                "optimizer must act element by element, which is known of torch's "
                f"{names}; got {type(optimizer).__module__}.{type(optimizer).__name__}"
            )
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self.optimizer = optimizer
        del self.param_groups, self.state  # which are looked up in the optimizer
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
        """Groups and state are those of the optimizer, which has others once it loads some."""
        if name in ("param_groups", "state"):
            return getattr(self.optimizer, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __getstate__(self) -> Any:
        raise TypeError(
            "Lazy must stay with its model, whose passes it notes, and cannot be copied or "
            "pickled; save its state_dict(), or copy the model with the optimizer that Lazy wraps "
            "and wrap the copy"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return that of the optimizer."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load that of the optimizer, dense or lazy."""
        self.optimizer.load_state_dict(state_dict)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the optimizer."""
        if hasattr(self, "optimizer"):
            self.optimizer.add_param_group(param_group)
        else:
            super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Call ``closure`` first, update the kept parts, and return the closure's result."""
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
        """Update what can be in place; return what is left to the optimizer, parts cut out."""
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
        """Return what to update of a parameter; None for all."""
        product = self._products.get(whole)
        if product is None or not product.passes:
            return None
        if whole.grad is None:  # a pass for something else, or a frozen weight
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
    """Stop noting passes for an optimizer that is gone, unless another has taken over."""
    if product.passes is passes:
        product.passes = None


def _joined(kept: Sequence[Sequence[Tensor] | None]) -> Tensor | None:
    """Return the indices of all groups of all passes; None if one of them kept all."""
    found = [index for some in kept if some is not None for index in some]
    if any(some is None for some in kept):
        return None
    return found[0] if len(found) == 1 else torch.unique(torch.cat(found))


def _is_like(value: Any, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape
