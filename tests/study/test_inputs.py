"""Rows of several arrays and of sequences are chosen, cut and padded as one array's are."""

import numpy as np
import pytest
import torch

from dropkit.study.inputs import LENGTHS, Inputs, Sequences, cut, shape_of, to_tensors

ROWS = [[1, 2, 3], [4], [5, 6]]
LENGTHS_OF_ROWS = np.array(list(map(len, ROWS)))


def sequences() -> Sequences:
    return Sequences.join(np.concatenate(ROWS), LENGTHS_OF_ROWS)


def test_rows_of_sequences_are_chosen_and_taken() -> None:
    chosen = sequences()[np.array([2, 0])]
    assert chosen.taken().tolist() == [5, 6, 1, 2, 3]
    assert [row.tolist() for row in chosen] == [[5, 6], [1, 2, 3]]
    assert chosen[1:].taken().tolist() == [1, 2, 3]
    assert chosen.shape == (2, 3)


def test_sequences_are_padded_to_the_longest_of_the_chosen() -> None:
    rows = to_tensors(sequences())
    assert rows.pad().tolist() == [[1, 2, 3], [4, 0, 0], [5, 6, 0]]
    assert rows[1:].pad().tolist() == [[4, 0], [5, 6]]
    assert rows[torch.tensor([1])].pad().tolist() == [[4]]
    wide = to_tensors(Sequences.join(np.ones((6, 2, 3), np.float32), LENGTHS_OF_ROWS))
    assert wide.pad().shape == (3, 3, 2, 3)
    assert wide.pad().sum() == 6 * 2 * 3
    assert wide.steps.sum() == 6 * 2 * 3  # padding changed none of them


def test_a_batch_of_inputs_holds_tensors_and_lengths() -> None:
    rows = to_tensors(Inputs({"a": np.arange(6.0).reshape(3, 2), "words": sequences()}))
    assert len(rows) == 3
    assert rows.shape == {"a": (2,), "words": (3,)}
    assert rows.sequences == ("words",)
    batch = rows[torch.tensor([2, 1])].to(torch.device("cpu"))
    assert {name: part.tolist() for name, part in batch.items()} == {
        "a": [[4, 5], [2, 3]],
        "words": [[5, 6], [4, 0]],
        f"words{LENGTHS}": [2, 1],
    }
    assert batch.shape == {"a": (2,), "words": (2,)}
    assert batch.sequences == ("words",)


def test_a_clone_does_not_share_memory() -> None:
    rows = to_tensors(Inputs({"a": np.zeros((3, 2)), "words": sequences()}))
    batch = rows.clone().padded()
    for part in batch.parts.values():
        part += 7
    assert rows.parts["a"].sum() == 0
    assert rows.padded().parts["words"].tolist() == [[1, 2, 3], [4, 0, 0], [5, 6, 0]]


@pytest.mark.parametrize("rows", [torch.arange(7), Inputs({"a": torch.arange(7)})])
def test_rows_are_cut_into_batches(rows: object) -> None:
    sizes = [len(batch) for batch in cut(rows, 3)]  # type: ignore[type-var]
    assert sizes == [3, 3, 1]


def test_the_shape_of_a_row() -> None:
    assert shape_of(np.zeros((5, 2, 3))) == (2, 3)
    assert shape_of(Inputs({"words": sequences()})) == (3,)
    assert shape_of(Inputs({"a": np.zeros(5), "b": np.zeros((5, 2))})) == {"a": (), "b": (2,)}
