"""The command ``doctor``, which finds mistakes with dropout in a model."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropkit.cli._app import Debug, app

if TYPE_CHECKING:
    from dropkit._doctor import Diagnosis


@app.command(short_help="Find mistakes with dropout in a model.")
def doctor(
    model: Annotated[
        str,
        typer.Argument(
            help=(
                "A function without arguments that returns (model, example), where example is a "
                "batch of inputs; or (model, example, data), where data is a pair of training and "
                "validation rows; or only the model, if its configuration or first layer shows "
                "what inputs it takes."
            ),
            metavar="FILE.PY:FUNCTION",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Find mistakes with dropout in a model: where they are, the evidence, and the fix.

    Exit code 0: no errors or warnings (there may be notes). 1: errors or warnings. 2: the model
    cannot be examined.
    """
    import json
    from contextlib import redirect_stdout

    # Redirect the output of the user's code, so that it does not mix with the JSON.
    with redirect_stdout(sys.stderr):
        diagnosis = _examine(model)
    if as_json:
        print(json.dumps(diagnosis.to_dict(), indent=2, ensure_ascii=False))
    else:
        from dropkit.cli._diagnosis import show

        show(diagnosis)
    if not diagnosis.healthy:
        raise typer.Exit(1)


def _examine(spec: str) -> "Diagnosis":
    from dropkit._doctor import doctor as examine
    from dropkit.errors import StudyError
    from dropkit.user_code import call_function, load_function

    if ":" not in spec:
        raise StudyError(f"give the model as file.py:function, got {spec!r}")
    made = call_function(load_function(spec))
    parts = made if isinstance(made, tuple) else (made,)
    if not 1 <= len(parts) <= 3:
        raise StudyError(
            "the function must return the model, (model, example) or (model, example, data), "
            f"got {len(parts)} values; several inputs are one example: (model, (first, second))"
        )
    model, example, data = (*parts, None, None)[:3]
    try:
        if example is None and data is None:
            example = _build_example(model)
        return examine(model, example, data=data)
    except (TypeError, ValueError) as error:
        raise StudyError(str(error)) from error


def _build_example(model: Any) -> Any:
    """Build an example input if the user's function returned none."""
    from torch import nn
    from torch.utils._pytree import tree_leaves

    from dropkit._doctor.example import build_example
    from dropkit.errors import StudyError

    example = build_example(model) if isinstance(model, nn.Module) else None
    if example is None and isinstance(model, nn.Module):
        raise StudyError(
            "nothing was run: the function returned no example, and the model's configuration and "
            "first layer do not show what inputs it takes; return (model, example), where example "
            "is a batch of inputs"
        )
    if example is not None:
        inputs = tree_leaves(example)
        shapes = " and ".join(str(tuple(getattr(value, "shape", ()))) for value in inputs)
        print(f"no example was given; examined on inputs of shape {shapes}", file=sys.stderr)
    return example
