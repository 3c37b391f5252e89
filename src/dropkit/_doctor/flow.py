"""Track which dropout a tensor has passed since a layer last mixed its units."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

# Functions that keep units separate. Every other function counts as mixing units. So an unknown
# function can hide a mistake, but never cause a false finding.
_UNITWISE = frozenset(
    """view reshape flatten unflatten squeeze unsqueeze transpose permute movedim swapaxes T mT
    contiguous clone to float double half bfloat16 type detach data __getitem__ expand chunk split
    unbind relu relu_ relu6 leaky_relu elu elu_ selu selu_ celu gelu silu mish hardswish hardtanh
    tanh sigmoid softplus softsign prelu softmax log_softmax neg abs square sqrt""".split()  # noqa: SIM905
)
# These also keep units separate if the other argument is a number or a parameter.
_BINARY = frozenset(
    """add add_ sub sub_ mul mul_ div div_ true_divide true_divide_ rsub __radd__ __rsub__ __rmul__
    __rtruediv__ __truediv__""".split()  # noqa: SIM905
)
_DROPOUT = frozenset(
    """dropout dropout_ dropout1d dropout2d dropout3d alpha_dropout alpha_dropout_ feature_dropout
    feature_alpha_dropout feature_alpha_dropout_""".split()  # noqa: SIM905
)
_ATTENTION = frozenset({"scaled_dot_product_attention", "multi_head_attention_forward"})


class Flow(TorchFunctionMode):
    """Tracks dropped tensors through torch's functions while a model runs.

    Args:
        draws: returns the number of random draws so far.
        module: returns the name of the running module.

    Attributes:
        attention: whether an attention function is running.
        doubled: pairs of modules that dropped the same units, the later module first.
    """

    def __init__(self, draws: Callable[[], int], module: Callable[[], str]) -> None:
        super().__init__()
        self._draws, self._module = draws, module
        self.attention = False
        self.doubled: list[tuple[str, str]] = []
        self._through: Any = WeakTensorKeyDictionary()

    def through(self, values: Any) -> str | None:
        """Return the module whose dropout the values passed last, or None."""
        found = (self._through.get(tensor) for tensor in _activations(tree_leaves(values)))
        return next((module for module in found if module is not None), None)

    def dropped(self, module: str, values: Any, output: Any) -> None:
        """Record that a module dropped units of ``values``."""
        before = self.through(values)
        if before is not None:
            self.doubled.append((module, before))
        self._mark(output, module)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__get__":
            name = getattr(func.__self__, "__name__", "")
        if name in _ATTENTION:
            self.attention = True
            try:
                return func(*args, **kwargs)
            finally:
                self.attention = False
        values = args[0] if args else kwargs.get("input")
        before, drawn, version = self.through(values), self._draws(), _version(values)
        output = func(*args, **kwargs)
        if output is values and _version(values) == version:
            return output  # for example contiguous() of a contiguous tensor
        if name in _DROPOUT and self._draws() > drawn:
            # In-place dropout has changed the values, but not yet their mark.
            self.dropped(self._module(), values, output)
        elif name in _UNITWISE or name in _DROPOUT or (name in _BINARY and _alone(args)):
            self._mark(output, before)
        else:
            self._mark(output, None)
        return output

    def _mark(self, output: Any, module: str | None) -> None:
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor):
                if module is not None:
                    self._through[tensor] = module
                elif tensor in self._through:
                    del self._through[tensor]


def _version(values: Any) -> int:
    return values._version if isinstance(values, Tensor) and not values.is_inference() else -1


def _activations(leaves: Iterable[Any]) -> list[Tensor]:
    return [
        leaf
        for leaf in leaves
        if isinstance(leaf, Tensor)
        and not isinstance(leaf, nn.Parameter)
        and leaf.is_floating_point()
    ]


def _alone(args: Any) -> bool:
    return sum(tensor.dim() > 0 for tensor in _activations(args)) == 1
