"""Method expressions: text in, methods with arguments out, and errors that name the nearest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropkit.study import StudyError
from dropkit.study.methods.catalogue import METHODS
from dropkit.study.methods.parsing import parse, parse_list
from dropkit.study.methods.recipe import Recipe


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("none", "none"),
        (" dropout ", "dropout"),
        ("dropout()", "dropout"),
        ("dropout(input=0.1, p=.3)", "dropout(p=0.3,input=0.1)"),
        ("dropout + max-norm( c = 2 )", "dropout+max-norm(c=2)"),
        ("weight-decay(coefficient=1e-4)+l1", "weight-decay(coefficient=0.0001)+l1"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    assert str(parse(text)) == canonical
    assert str(parse(canonical)) == canonical


@given(st.floats(0, 1, exclude_max=True), st.floats(1e-3, 1e3))
def test_the_canonical_form_is_of_the_same_numbers(p: float, c: float) -> None:
    expression = parse(f"dropout(p={p!r})+max-norm(c={c!r})")
    assert parse(str(expression)).arguments() == expression.arguments()
    assert expression.arguments()["dropout.p"] == p


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drpout", "unknown method 'drpout': did you mean 'dropout'?"),
        ("dropout(rate=0.5)", "dropout has no argument 'rate'"),
        ("dropout(p)", "write 'p' as argument=value"),
        ("dropout(p=0.5,p=0.4)", "p is given twice"),
        ("dropout(p=1.5)", r"p must be a number in \[0, 1\]"),
        ("dropout(p=-0.1)", r"p must be a number in \[0, 1\]"),
        ("dropout(p=nan)", r"p must be a number in \[0, 1\]"),
        ("dropout(p=half)", r"dropout\(p=half\)"),
        ("max-norm(c=0)", "c must be a number of at least"),
        ("ensemble(members=2.5)", "members must be a whole number"),
        ("none(p=1)", "none takes no arguments"),
        ("dropout+dropout", "names 'dropout' twice"),
        ("dropout(p=0.5", "cannot read the method"),
        ("", "cannot read the method"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        parse(text)


def test_list_keeps_commas_inside_parentheses() -> None:
    assert parse_list("none,dropout(p=0.3,input=0.1)+l1,") == (
        "none",
        "dropout(p=0.3,input=0.1)+l1",
    )


def test_terms_apply_in_order_and_hyperparameters_override() -> None:
    expression = parse("weight-decay(coefficient=0.01)+ensemble(members=3)")
    recipe = expression.recipe(Recipe(lr=0.1), {"weight-decay.coefficient": 0.5})
    assert (recipe.weight_decay, recipe.members, recipe.lr) == (0.5, 3, 0.1)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_applies_with_its_defaults(name: str) -> None:
    plain = Recipe(lr=0.1)
    recipe = parse(name).recipe(plain)
    assert (recipe == plain) == (name == "none")
    changed = (recipe.lr, recipe.momentum) != (plain.lr, plain.momentum)
    assert changed == (name in ("paper-dropout", "larger-steps"))


def test_dropout_at_zero_adds_no_layer() -> None:
    recipe = parse("dropout(p=0,input=0)").recipe(Recipe(lr=0.1))
    assert recipe.hidden == ()
    assert recipe.inputs == ()
