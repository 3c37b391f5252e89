"""Fields in another form: nobody sees it, and it takes a fraction of the memory."""

import copy
import math
import pickle
import tracemalloc
from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from dropkit.study.record.results import Curve, Run, Timing
from helpers.fabricated import make_run

STEP, LOSS = (10, 2**40), (0.1, None, -0.0, 5e-324, math.inf)


def curve() -> Curve:
    return Curve(step=STEP, train_loss=LOSS, val_loss=(), val_error=(1.0,))


def test_every_value_is_read_as_it_was_set() -> None:
    read = curve()
    assert (read.step, read.train_loss, read.val_loss, read.val_error) == (STEP, LOSS, (), (1.0,))
    assert str(read.train_loss[2]) == "-0.0"
    assert all(type(step) is int for step in read.step)
    assert replace(read, val_loss=(2.0, None)).val_loss == (2.0, None)
    assert Timing(1.0, 2.0).epochs == ()
    assert repr(Timing(1.0, 2.0, (3.0,))).endswith("epochs=(3.0,))")


def test_nan_is_no_loss() -> None:
    assert replace(curve(), val_loss=(1.0, math.nan)).val_loss == (1.0, None)


def test_equality_copies_and_hashes_are_those_of_the_values() -> None:
    first = curve()
    for second in (curve(), pickle.loads(pickle.dumps(first)), copy.deepcopy(first)):
        assert second == first
        assert hash(second) == hash(first)
    assert replace(first, train_loss=(0.2, *LOSS[1:])) != first


def test_arguments_keep_their_types_and_are_each_reader_s_own() -> None:
    whole = replace(make_run("none", 0, 0.1), arguments={"a": 1, "b": -0.0})
    other = replace(whole, arguments={"a": 1.0, "b": 0.0})
    assert str(whole.arguments) == "{'a': 1, 'b': -0.0}"
    assert str(other.arguments) == "{'a': 1.0, 'b': 0.0}"
    whole.arguments["a"] = 2
    assert whole.arguments["a"] == 1


def test_a_field_stays_frozen() -> None:
    with pytest.raises(AttributeError):
        curve().step = (1,)  # type: ignore[misc]


def test_json_of_pydantic_goes_there_and_back() -> None:
    runs = TypeAdapter(Run)
    run = replace(make_run("none", 0, 0.1), curve=replace(curve(), train_loss=LOSS[:-1]))
    assert runs.validate_json(runs.dump_json(run)) == run
    with pytest.raises(ValueError, match="count must fit"):
        runs.validate_json(runs.dump_json(run).replace(str(2**40).encode(), b"9" * 20))


def test_a_training_takes_eight_bytes_a_number_and_what_is_alike_none() -> None:
    epochs = 1000

    def trained(seed: int) -> Run:
        losses = [1 / (epoch + seed + 2) for epoch in range(epochs)]
        run = make_run("none", seed, 0.1, val_loss=losses)
        return replace(run, arguments={f"argument {i}": i / 7 for i in range(100)})

    trained(0)
    tracemalloc.start()
    runs = [trained(seed) for seed in range(20)]
    held = tracemalloc.get_traced_memory()[0] / len(runs)
    tracemalloc.stop()
    assert held < 4 * 8 * epochs + 4000  # three curves and the seconds
