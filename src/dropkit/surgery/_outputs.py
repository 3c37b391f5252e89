"""Find the modules after which dropout is not useful: at the output, and on parameters."""

from collections import Counter

from torch import fx, nn

from dropkit._drops import is_dropout_layer
from dropkit._graph import is_chain, trace
from dropkit._source import is_library
from dropkit._uses import find_last_used

_MAKES = "makes the model's output"
_ON_PARAMETERS = "is applied to parameters, not to units"


def find_outputs(model: nn.Module) -> dict[str, str]:
    """Return the modules that compute the output, each with the reason not to follow it.

    If the forward pass can be traced, use the order of calls, and also return the modules that are
    only applied to parameters, such as a softplus of a scale. Otherwise use the last module that
    the code mentions.
    """
    names = {module: name for name, module in model.named_modules()}
    try:
        graph = trace(model)
    except ValueError:
        last = _last_called(model)
        return {} if last is None else {names[last]: _MAKES}
    found = {names[module]: _ON_PARAMETERS for module in _applied_to_parameters(model, graph)}
    calls = Counter(n.target for n in graph.nodes if n.op == "call_module")
    pending = [*graph.output_node().all_input_nodes]
    while pending:
        node = pending.pop()
        module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
        if module is not None and not _passes(module):
            once = calls[node.target] == 1
            found[names[module]] = _MAKES if once else f"{_MAKES}, in one of its calls"
        else:
            pending += node.all_input_nodes
    return found


def _applied_to_parameters(model: nn.Module, graph: fx.Graph) -> set[nn.Module]:
    """Return the modules that only receive values computed from parameters, without a layer."""
    own: set[fx.Node] = set()  # values that are computed from attributes of the model
    on_own: set[nn.Module] = set()
    on_units: set[nn.Module] = set()
    for node in graph.nodes:
        from_own = bool(node.all_input_nodes) and own.issuperset(node.all_input_nodes)
        if node.op == "call_module":
            (on_own if from_own else on_units).add(model.get_submodule(str(node.target)))
        elif node.op == "get_attr" or (from_own and node.op != "output"):
            own.add(node)
    return on_own - on_units


def _passes(module: nn.Module) -> bool:
    """Whether a module returns the same units, possibly reshaped or dropped."""
    return isinstance(module, nn.Identity | nn.Flatten | nn.Unflatten) or is_dropout_layer(module)


def _last_called(module: nn.Module) -> nn.Module | None:
    """Return the innermost module that is called last, according to the source code."""
    children = {name: child for name, child in module._modules.items() if child is not None}
    children = {name: child for name, child in children.items() if not _passes(child)}
    if not children:
        return module
    if is_chain(module) or isinstance(module, nn.ModuleList | nn.ModuleDict):
        return _last_called([*children.values()][-1])
    if is_library(type(module).__module__):
        return None  # no container of torch ends with an activation module
    last = find_last_used(type(module), children)
    return _last_called(children[last or [*children][-1]])
