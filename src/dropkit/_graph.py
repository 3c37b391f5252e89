"""The order in which a model calls its modules, read from its forward pass without running it."""

from typing import Any

from torch import fx, nn

#: The name under which a module holds the layer that acts on its output.
AFTER = "after"


class _Tracer(fx.Tracer):
    """Sees as one step every module without children, every one of torch, and ``steps``.

    Attention is torch's in its subclasses too: their code branches on shapes and masks.
    """

    def __init__(self, steps: tuple[type[nn.Module], ...]) -> None:
        super().__init__()
        self._steps = steps

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        childless = not m._modules.keys() - {AFTER}
        return (
            childless
            or isinstance(m, (nn.MultiheadAttention, *self._steps))
            or super().is_leaf_module(m, module_qualified_name)
        )

    def call_module(
        self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        output = super().call_module(m, forward, args, kwargs)
        # A step's forward hooks stay unseen, and with them the layer put after the module.
        if AFTER in m._modules and self.is_leaf_module(m, self.path_of_module(m)):
            return m.get_submodule(AFTER)(output)
        return output


def trace(model: nn.Module, steps: tuple[type[nn.Module], ...] = ()) -> fx.Graph:
    """Return the graph of calls of ``model``; its ``call_module`` nodes name modules.

    Args:
        model: any module; its forward pass is followed with symbols in place of tensors.
        steps: types of modules not to look into, beside those of torch.

    Raises:
        ValueError: if the forward pass depends on values, such as ``if x.sum() > 0``.
    """
    try:
        return _Tracer(steps).trace(model)
    except Exception as error:
        raise ValueError(
            f"the forward pass of {type(model).__name__} cannot be followed without running it "
            f"({error}); it must not branch on values"
        ) from error
