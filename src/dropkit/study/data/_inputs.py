"""Read several named inputs for a model whose ``forward`` has parameters of these names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from dropkit.errors import DataError
from dropkit.study.data._data import Array
from dropkit.study.data._features import read_array, to_numpy
from dropkit.study.data._plain import check_finite
from dropkit.study.data._sequences import check_steps, find_sequences, join_lengths, join_mask
from dropkit.study.inputs import Inputs, Sequences
from dropkit.study.shapes import join_words

Notes = tuple[str, ...]

RESERVED = ("X", "y", "targets")
"""Names that have a special meaning in an archive."""

BESIDE = ("lengths", "mask")
"""Names of arrays that mark the end of sequences; with the prefix ``NAME_``, of the input NAME."""


def read_features(
    X: Any, name: str, preprocess: bool, like: Any = None
) -> tuple[Array | Inputs, Notes]:
    """Read one array, several named arrays, or sequences of unequal length.

    An input such as ``words`` holds sequences if it is a list of arrays, or if ``words_lengths`` or
    ``words_mask`` is given too. A single array takes ``lengths`` or ``mask`` instead.

    Args:
        X: an array, a list of arrays, or a mapping of these by name.
        name: the name of ``X`` in messages.
        preprocess: whether numbers will be standardized.
        like: features that were read before; the same inputs are then read as sequences.

    Returns:
        A single array as from `read_array`, or the inputs; and notes on what was assumed.
    """
    raw = _with_names(X, name)
    features = [each for each in raw if not _belongs_to(each, raw)]
    if not features:
        raise DataError(f"{name} holds no array; give a dict of arrays, or one array")
    is_lone = len(features) == 1
    if not is_lone:
        _check_names(features, name)
    known = like.sequences if isinstance(like, Inputs) else ()
    parts: dict[str, Any] = {}
    notes: Notes = ()
    for each in features:
        label = name if each == name else f"{each} of {name}"
        certain = bool(known) if is_lone else each in known
        sequences = _read_sequences(raw, each, label, is_lone, certain)
        if sequences is None and is_lone:
            return read_array(raw[each], label, preprocess)
        if sequences is None:
            parts[each], more = _read_part(raw[each], label, preprocess)
        else:
            check_steps(sequences, label, preprocess)
            steps, more = _read_part(sequences.steps, label, preprocess)
            parts[each] = replace(sequences, steps=steps)
            shortest, longest = sequences.lengths.min(), sequences.longest
            notes += (f"{label} is read as sequences of {shortest} to {longest} steps",)
        notes += more
    _check_rows(parts, name)
    return Inputs(parts), notes


def match_inputs(X: Any, more: Any, name: str) -> tuple[Any, Any]:
    """Check that a fixed part has the inputs of the other rows; give both one maximum length.

    Args:
        X: the features of all other rows.
        more: the features of the part.
        name: the name of the part in messages.

    Raises:
        DataError: the part has different inputs, shapes of rows or kinds of numbers.
    """
    if isinstance(X, Inputs) != isinstance(more, Inputs):
        kinds = [
            join_words(each.parts) if isinstance(each, Inputs) else "one array"
            for each in (X, more)
        ]
        raise DataError(f"X holds {kinds[0]} and {name} {kinds[1]}; give both in the same form")
    if not isinstance(X, Inputs):
        _check_like(X, more, "X", name)
        return X, more
    if len(X.parts) == len(more.parts) == 1:  # the name of a single input does not matter
        more = Inputs(dict(zip(X.parts, more.parts.values(), strict=True)))
    if X.parts.keys() != more.parts.keys():
        raise DataError(
            f"X holds {join_words(X.parts)} and {name} {join_words(more.parts)}; give arrays of "
            "the same names in both"
        )
    pairs: dict[str, tuple[Any, Any]] = {}
    for each, part in X.items():
        other = more.parts[each]
        if isinstance(part, Sequences) != isinstance(other, Sequences):
            raise DataError(f"{each} holds sequences in one of X and {name}; give lengths for both")
        if isinstance(part, Sequences):
            longest = max(part.longest, other.longest)
            part, other = (replace(side, longest=longest) for side in (part, other))
        _check_like(part, other, each, f"{each} of {name}")
        pairs[each] = part, other
    first, second = ({each: pair[i] for each, pair in pairs.items()} for i in (0, 1))
    return Inputs(first), Inputs(second)


def _belongs_to(name: str, names: Collection[str]) -> bool:
    """Return whether an array holds the lengths or the mask of another input."""
    if name in BESIDE:
        return len(set(names) - set(BESIDE)) == 1
    ends = (f"_{kind}" for kind in BESIDE)
    return any(name.endswith(end) and name.removesuffix(end) in names for end in ends)


def _read_sequences(
    raw: Mapping[str, Any], name: str, label: str, is_lone: bool, certain: bool
) -> Sequences | None:
    """Read an input that is a list or has lengths or a mask; ``None`` for other inputs."""
    beside = {}
    for kind in BESIDE:
        found = raw.get(f"{name}_{kind}")
        found = raw.get(kind) if found is None and is_lone and name not in BESIDE else found
        if found is not None:
            beside[kind] = found
    if not beside:
        return find_sequences(raw[name], label, certain=certain)
    if find_sequences(raw[name], label) is not None or len(beside) > 1:
        raise DataError(
            f"the lengths of {label} are given twice; leave out all but one of lengths, mask and a "
            "list of arrays"
        )
    values = to_numpy(raw[name], label)
    if "lengths" in beside:
        return join_lengths(values, beside["lengths"], label)
    return join_mask(values, beside["mask"], label)


def _read_part(values: Any, name: str, preprocess: bool) -> tuple[Array, Notes]:
    """Read one of several arrays; integers and booleans are not changed."""
    if isinstance(values, pd.DataFrame):
        raise DataError(
            f"{name} is a DataFrame, which cannot be one of several inputs; give its numbers as "
            "an array, with to_numpy(float)"
        )
    array = to_numpy(values, name)
    if array.dtype.kind not in "buif":
        raise DataError(
            f"{name} must hold numbers, got an array of {array.dtype}; give words and categories "
            "as whole numbers, for an embedding"
        )
    if array.ndim == 0 or 0 in array.shape:
        raise DataError(f"{name} has shape {array.shape}; it must hold a value for every row")
    if array.dtype.kind == "b":
        return array, ()
    if array.dtype.kind == "i" or (array.dtype.kind == "u" and array.dtype != np.uint8):
        note = f"{name} holds whole numbers, which are not changed, for an embedding"
        return array.astype(np.int64), (f"{note}; save measurements as floats",) * preprocess
    if array.ndim == 1 and array.dtype.kind in "uf":
        if not preprocess:
            check_finite(array, name)
            return array, ()
        array = array[:, np.newaxis]
    array, notes = read_array(array, name, preprocess)
    return array, tuple(f"{name}: {note}" for note in notes)


def _with_names(X: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(X, Mapping):
        return {name: X}
    for key in X:
        if not isinstance(key, str):
            raise DataError(f"{name} must have names for keys, got {key!r}")
    return X


def _check_names(names: list[str], where: str) -> None:
    for name in names:
        if not name.isidentifier():
            raise DataError(
                f"{name!r} of {where} cannot name a parameter of forward; name it with letters, "
                "digits and _"
            )
        if name in RESERVED or name.endswith(("_test", "_val", "_train")):
            raise DataError(
                f"an input beside others cannot be called {name!r}, which has a meaning of its "
                "own; give it another name, in the model's forward as well"
            )


def _check_rows(parts: dict[str, Any], where: str) -> None:
    (first, rows), *others = ((name, len(part)) for name, part in parts.items())
    for name, count in others:
        if count != rows:
            raise DataError(
                f"{name} of {where} has {count} rows and {first} {rows}; every input needs one per "
                f"target (if {name} holds sequences one after the other, give {name}_lengths)"
            )


def _check_like(part: Any, other: Any, name: str, other_name: str) -> None:
    """Raise `DataError` if rows differ in shape, or if only one array holds bytes."""
    shapes = part.shape[1:], other.shape[1:]
    if shapes[0] != shapes[1]:
        raise DataError(
            f"a row of {other_name} has shape {shapes[1]}, a row of {name} {shapes[0]}; they must "
            "be equal"
        )
    types = [(each.steps if isinstance(each, Sequences) else each).dtype for each in (part, other)]
    if types[0].kind != types[1].kind:
        raise DataError(
            f"{other_name} is an array of {types[1]}, {name} one of {types[0]}; give both in the "
            "same numbers"
        )
