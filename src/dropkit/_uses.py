"""Find out whether a function may call attributes of modules, or only reads from them."""

import ast
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import FunctionType
from typing import Any

from dropkit._source import list_methods_of_forward, parse_function

# Functions that do not call a module which they receive.
_QUESTIONS = {"isinstance", "hasattr", "type", "id", "callable", "issubclass"}
# Attributes that give access to children without naming them.
_DYNAMIC = {
    "_modules", "children", "named_children", "modules", "named_modules", "get_submodule",
    "__dict__", "__getattr__", "apply",
}  # fmt: skip
_ITERATORS = {"children", "named_children"}
# The same for the children of a module that is itself an attribute, which may be an nn.ModuleDict.
_DYNAMIC_OF_CHILD = _DYNAMIC | {"values", "items", "get", "pop", "__getitem__", "__iter__"}


@dataclass
class Uses:
    """The attributes and names that a function uses.

    Attributes:
        own: attributes of ``self`` that may be called.
        others: attributes of other objects that may be called.
        held: pairs (holder, name) for ``self.holder.name``, which may be called.
        own_reads: for attributes of ``self``, the attributes that are read from them.
        reads: for attributes of other objects, the attributes that are read from them.
        names: possible names of functions and methods.
        supers: methods of base classes that are called with ``super()``.
        functions: functions from tables, such as attention implementations by name.
        hides: whether children of ``self`` may be used without their names.
    """

    own: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    held: set[tuple[str, str]] = field(default_factory=set)
    own_reads: dict[str, set[str]] = field(default_factory=dict)
    reads: dict[str, set[str]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    supers: set[str] = field(default_factory=set)
    functions: list[FunctionType] = field(default_factory=list)
    hides: bool = False


@cache
def find_uses(function: FunctionType, method: bool) -> Uses | None:
    """Return what a function uses; ``self`` is the first argument if it is a method.

    Returns:
        The uses, or None if the source cannot be read.
    """
    definition = parse_function(function)
    if definition is None:
        return None
    arguments = [*definition.args.posonlyargs, *definition.args.args]
    packages = {n for n, value in function.__globals__.items() if inspect.ismodule(value)}
    reader = _Reader(arguments[0].arg if method and arguments else None, packages)
    for statement in definition.body:
        reader.visit(statement)
    for callee in reader.handed_to:
        names = reader.made_of.get(callee, {callee})
        found = [each for name in names for each in _functions_of(function, name)]
        reader.uses.functions += found
        reader.uses.hides |= not found
    return reader.uses


def _functions_of(function: FunctionType, name: str) -> list[FunctionType]:
    """Return the function with a global name, or the functions in a table with this name."""
    value = function.__globals__.get(name)
    several = [*value.values()] if isinstance(value, Mapping) else [value]
    unwrapped = [inspect.unwrap(each) if callable(each) else each for each in several]
    known = [each for each in unwrapped if isinstance(each, FunctionType)]
    return known if len(known) == len(several) else []


class _Reader(ast.NodeVisitor):
    def __init__(self, own: str | None, packages: set[str]) -> None:
        self.uses = Uses()
        self._own, self._packages = own, packages
        #: Names of functions that get ``self``.
        self.handed_to: set[str] = set()
        #: For each local variable, the names that the variable depends on.
        self.made_of: dict[str, set[str]] = {}

    def visit_Assign(self, node: ast.Assign) -> None:
        """Record the names that a local variable depends on."""
        self._note_assignment(node.targets, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Record the same for an annotated variable; the annotation does not count as a use."""
        if node.value is not None:
            self._note_assignment([node.target], node.value)
            self.visit(node.value)

    def _note_assignment(self, targets: list[ast.expr], value: ast.expr) -> None:
        names = {part.id for part in ast.walk(value) if isinstance(part, ast.Name)}
        for target in targets:
            if isinstance(target, ast.Name):
                self.made_of.setdefault(target.id, set()).update(names)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Record an attribute, except those of Python modules, such as ``F.dropout``."""
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if not (isinstance(root, ast.Name) and root.id in self._packages):
            self._note(node, None)

    def visit_Name(self, node: ast.Name) -> None:
        """Record a name. If ``self`` itself is passed on, its children may be used anywhere."""
        self.uses.names.add(node.id)
        self.uses.hides |= node.id == self._own

    def visit_Call(self, node: ast.Call) -> None:
        """Record calls, and attributes in ``getattr``."""
        name = getattr(node.func, "id", None)
        if name == "getattr" and len(node.args) > 1:
            self._note_by_text(*node.args[:2])
            node = ast.Call(node.func, node.args[2:], node.keywords)
        elif name in _QUESTIONS:
            return
        elif name is not None and any(self._is_self(argument) for argument in node.args):
            self.handed_to.add(name)
            rest = [argument for argument in node.args if not self._is_self(argument)]
            node = ast.Call(node.func, rest, node.keywords)
        self.generic_visit(node)

    def _is_self(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id == self._own

    def visit_Compare(self, node: ast.Compare) -> None:
        """Skip attributes and names that are only compared, for example with None."""
        for part in (node.left, *node.comparators):
            if not isinstance(part, ast.Attribute | ast.Name):
                self.visit(part)

    def visit_If(self, node: ast.If) -> None:
        """Skip an attribute that is only a condition."""
        self._visit_condition(node.test)
        for statement in (*node.body, *node.orelse):
            self.visit(statement)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        """Skip an attribute that is only a condition."""
        self._visit_condition(node.test)
        self.visit(node.body)
        self.visit(node.orelse)

    def _visit_condition(self, test: ast.expr) -> None:
        if isinstance(test, ast.UnaryOp):
            self._visit_condition(test.operand)
        elif isinstance(test, ast.BoolOp):
            for value in test.values:
                self._visit_condition(value)
        elif not isinstance(test, ast.Attribute):
            self.visit(test)

    def _note(self, node: ast.Attribute, read: str | None) -> None:
        """Record an attribute; ``read`` is the attribute that is read from it, if any."""
        if not isinstance(node.ctx, ast.Load):
            if isinstance(node.value, ast.Attribute):
                self._note(node.value, node.attr)
            return
        own = isinstance(node.value, ast.Name) and node.value.id == self._own
        if read is not None:
            reads = self.uses.own_reads if own else self.uses.reads
            reads.setdefault(node.attr, set()).add(read)
        if read is None or read in _DYNAMIC_OF_CHILD:
            if own:
                self.uses.own.add(node.attr)
            elif isinstance(node.value, ast.Attribute) and self._is_self(node.value.value):
                self.uses.held.add((node.value.attr, node.attr))
            else:
                self.uses.others.add(node.attr)
        self.uses.names.add(node.attr)
        self.uses.hides |= own and node.attr in _DYNAMIC
        if isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "super":
            self.uses.supers.add(node.attr)
        if isinstance(node.value, ast.Attribute):
            self._note(node.value, node.attr)
        elif not own:
            self.visit(node.value)

    def _note_by_text(self, holder: ast.expr, name: ast.expr) -> None:
        own = isinstance(holder, ast.Name) and holder.id == self._own
        if isinstance(name, ast.Constant):
            made = ast.Attribute(holder, str(name.value), ast.Load())
            self._note(made, None)
            return
        self.uses.hides |= own
        self.visit(name)
        if not own:
            self.visit(holder)


def iterates_over_children(kind: type) -> bool:
    """Whether the forward pass of a class, or a method that it uses, iterates over its children."""
    found = (find_uses(method, method=True) for method in list_methods_of_forward(kind))
    return any(
        uses.own & _ITERATORS or uses.own_reads.get("_modules", set()) & {"values", "items"}
        for uses in found
        if uses is not None
    )


def find_last_used(kind: type, names: Iterable[str]) -> str | None:
    """Return which of the given attributes of ``self`` the forward pass mentions last."""
    forward = inspect.unwrap(kind.forward)  # type: ignore[attr-defined]
    definition = parse_function(forward) if isinstance(forward, FunctionType) else None
    own = definition.args.args[0].arg if definition is not None and definition.args.args else None
    found = [
        (node.lineno, node.col_offset, node.attr)
        for node in (ast.walk(definition) if definition is not None else ())
        if isinstance(node, ast.Attribute) and node.attr in names
        if isinstance(node.value, ast.Name) and node.value.id == own
    ]
    return max(found)[2] if found else None


def closures_of(function: Any) -> list[FunctionType]:
    """Return the functions in a function's closure, such as the one that a decorator wraps."""
    cells = getattr(function, "__closure__", None) or ()
    found = []
    for cell in cells:
        try:
            content = cell.cell_contents
        except ValueError:  # the cell is empty
            continue
        if isinstance(content, FunctionType):
            found.append(content)
    return found
