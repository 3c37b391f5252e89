"""Create command-line options from the fields of the settings classes."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, Literal

import typer

from dropkit.study.settings import explanations

Command = typing.TypeVar("Command", bound=Callable[..., None])


def with_options(*settings: type, skip: Iterable[str] = ()) -> Callable[[Command], Command]:
    """Add an option for every field of the dataclasses to a command with ``**given``.

    Options without a value are ``None``, so that a study file can set them.
    """

    def add(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)
        made = [
            _option(field, hint, help)
            for kind in settings
            for field, hint, help in _described(kind)
            if field.name not in skip
        ]
        before = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        parameters = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in (before[0], *made, *before[1:])
        ]
        command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return add


def explain(settings: type, name: str) -> str:
    """Return the help of one setting, as a sentence."""
    text = explanations(settings)[name]
    return text[0].upper() + text[1:]


def _described(settings: type) -> list[tuple[Field[Any], Any, str]]:
    hints = typing.get_type_hints(settings)
    return [(f, hints[f.name], explain(settings, f.name)) for f in fields(settings)]


def _option(field: Field[Any], hint: Any, help: str) -> inspect.Parameter:
    kind, metavar = _read_as(hint, field.name)
    if shown := _format_default(field):
        help = f"{help.removesuffix('.')} (default: {shown})."
    option = field.name.replace("_", "-")
    names = f"--{option}/--no-{option}" if kind is bool else f"--{option}"
    info = typer.Option(names, help=help, metavar=metavar, show_default=False)
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, info],
    )


def _read_as(hint: Any, name: str) -> tuple[Any, str | None]:
    """Return the type that typer parses, and the placeholder for its value in the help."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is tuple:
        return str, "N,N,…" if int in typing.get_args(hint) else "LIST"
    if typing.get_origin(hint) is Literal or hint is bool:
        return hint, None
    return hint, {int: "N", float: "X"}.get(hint, name.upper())


def _format_default(field: Field[Any]) -> str:
    """Format the default; return nothing if the help text already explains the default."""
    value = field.default
    if value is None or value is MISSING:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
