"""Select modules by type, by name pattern, or by a function."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from torch import nn

Selection = type[nn.Module] | tuple[type[nn.Module], ...] | str | Callable[[str, nn.Module], bool]


def matches(selection: Selection | None, name: str, module: nn.Module) -> bool:
    """Whether a module is selected under this name; None selects every module."""
    if selection is None:
        return True
    if isinstance(selection, str):
        return name_matches(selection, name)
    if isinstance(selection, type | tuple):
        return isinstance(module, selection)
    if not callable(selection):
        raise TypeError(
            "places must be selected by a type, a tuple of types, a pattern of names or a function "
            f"of (name, module), got {type(selection).__name__}"
        )
    return bool(selection(name, module))


def name_matches(pattern: str, name: str) -> bool:
    """Whether a dotted name matches a pattern; ``*`` also matches dots."""
    return name == pattern or fnmatchcase(name, pattern)


def selected(model: nn.Module, selection: Selection | None) -> dict[str, nn.Module]:
    """Return the modules of which at least one name is selected, each under its first name."""
    first = {module: name for name, module in model.named_modules()}
    chosen = {
        module
        for name, module in model.named_modules(remove_duplicate=False)
        if matches(selection, name, module)
    }
    return {name: module for module, name in first.items() if module in chosen}


def is_number_selected(
    selection: Selection | None, name: str, owner: nn.Module, places: Mapping[str, nn.Module]
) -> bool:
    """Whether a rate inside a module is selected, by the rate's own name or with the module."""
    by_name = isinstance(selection, str) and name_matches(selection, name)
    return by_name or owner in places.values()
