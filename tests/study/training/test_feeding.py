"""Inputs reach the parameters of a forward pass that they are meant for, or it is said why not."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dropkit.study import StudyError
from dropkit.study.inputs import Inputs, Sequences, to_tensors
from dropkit.study.training.feeding import Fed, OnFloats, feed

STEPS = np.arange(1.0, 13.0, dtype=np.float32).reshape(6, 2)
LENGTHS = np.array([3, 1, 2])
SEQUENCES = Sequences.join(STEPS, LENGTHS, longest=5)
ARRAYS = to_tensors(
    Inputs({"image": np.ones((3, 1, 2, 2), np.float32), "table": np.ones((3, 4), np.float32)})
)
LONE = to_tensors(Inputs({"words": SEQUENCES}))
TWO = to_tensors(Inputs({"words": SEQUENCES, "table": np.ones((3, 4), np.float32)}))
BOTH = to_tensors(Inputs({"words": SEQUENCES, "tags": SEQUENCES}))


def seen_by(forward: Any, rows: Inputs) -> dict[str, Any]:
    """What a module with this forward pass is called with."""
    kind = type("Net", (nn.Module,), {"forward": forward})
    found: dict[str, Any] = feed(kind(), rows)(rows)
    found.pop("self")
    return found


def test_arrays_go_by_name() -> None:
    def forward(self: Any, table: Tensor, image: Tensor, scale: float = 2.0) -> Any:
        return locals()

    found = seen_by(forward, ARRAYS)
    assert found["table"] is ARRAYS.parts["table"]
    assert found["image"] is ARRAYS.parts["image"]
    assert found["scale"] == 2.0

    def anything(self: Any, **inputs: Tensor) -> Any:
        return locals()

    assert list(seen_by(anything, ARRAYS)["inputs"]) == ["image", "table"]


def test_a_lone_input_goes_to_the_first_parameter_whatever_its_name() -> None:
    def forward(self: Any, x: Tensor, hidden: Any = None) -> Any:
        return locals()

    found = seen_by(forward, LONE)
    assert found["hidden"] is None
    # As long as the longest of all data, for it does not know where a sequence ends.
    assert found["x"].shape == (3, 5, 2)
    assert found["x"][1].tolist() == [[7, 8], *[[0, 0]] * 4]
    assert feed(nn.Flatten(), LONE)(LONE).shape == (3, 10)


def test_a_model_gets_lengths_and_masks_of_sequences() -> None:
    def forward(
        self: Any, ids: Tensor, mask: Tensor, lengths: Tensor, attention_mask: Any = None
    ) -> Any:
        return locals()

    found = seen_by(forward, LONE)
    assert found["ids"].shape == (3, 3, 2)  # as long as the longest of the batch
    assert found["mask"].tolist() == [[True] * 3, [True, False, False], [True, True, False]]
    assert found["lengths"].tolist() == LENGTHS.tolist()
    assert found["attention_mask"].dtype == torch.int64
    assert torch.equal(found["attention_mask"].bool(), found["mask"])
    assert seen_by(forward, LONE[1:])["ids"].shape == (2, 2, 2)


def test_of_several_inputs_the_names_say_whose_lengths() -> None:
    def one(self: Any, table: Tensor, words: Tensor, lengths: Tensor, words_mask: Tensor) -> Any:
        return locals()

    found = seen_by(one, TWO)
    assert found["lengths"].tolist() == found["words_mask"].sum(1).tolist() == LENGTHS.tolist()

    def two(self: Any, words: Tensor, tags: Tensor, tags_lengths: Tensor) -> Any:
        return locals()

    found = seen_by(two, BOTH)
    assert found["words"].shape == (3, 5, 2)
    assert found["tags"].shape == (3, 3, 2)


def test_a_mask_of_the_users_own_is_passed_on() -> None:
    def forward(self: Any, words: Tensor, mask: Tensor) -> Any:
        return locals()

    own = torch.tensor([[True, False]] * 3)
    found = seen_by(forward, Inputs({**LONE.parts, "mask": own}))
    assert found["mask"] is own


def needs(*names: str) -> nn.Module:
    code = f"def forward(self, {', '.join(names)}): pass"
    space: dict[str, Any] = {}
    exec(code, space)
    return type("Net", (nn.Module,), {"forward": space["forward"]})()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("model", "rows", "message"),
    [
        (
            needs("image", "meta"),
            ARRAYS,
            "the forward of Net takes image and meta, and the data hold image 1x2x2 and table 4: "
            "there is no parameter for table and no input for meta; name inputs and parameters "
            "alike, or leave table out",
        ),
        (needs("image"), ARRAYS, "no parameter for table; .* or leave table out"),
        (needs("image", "table", "meta"), ARRAYS, "no input for meta; .* or give it a default"),
        (nn.Linear(2, 2), ARRAYS, r"give a network with forward\(self, image, table\)"),
        (needs("x", "lengths", "meta"), LONE, "no input for meta"),
        (needs("image", "table", "mask"), ARRAYS, "none of them sequences; give mask a default"),
        (needs("words", "tags", "mask"), BOTH, "name the parameter after its input, as words_mask"),
        (
            needs("image", "table"),
            torch.ones(2, 4),
            r"takes image and table, and the data hold one array with rows of shape 4; give an "
            r"array for each, as dict\(image=..., table=...\)",
        ),
        (
            needs("x", "lengths"),
            torch.ones(2, 4),
            "takes x and lengths, .* give sequences as a list of arrays, or their lengths beside",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together(model: nn.Module, rows: Any, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        feed(model, rows)


def test_one_tensor_needs_no_help() -> None:
    net = nn.Linear(4, 2)
    assert feed(net, torch.ones(2, 4)) is net
    assert feed(nn.LSTM(4, 2), torch.ones(2, 4))  # the state has a default


def test_layers_at_the_inputs_act_on_floats_and_leave_padding() -> None:
    class Add(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    ids = torch.arange(3)
    rows = Inputs({**TWO.parts, "ids": ids})
    found = OnFloats(Add())(rows)
    assert (found.parts["table"] == 2).all()
    assert found.parts["ids"] is ids
    assert found.parts["words"][1].tolist() == [[8, 9], [0, 0], [0, 0]]
    assert isinstance(feed(needs("words", "table", "ids"), found), Fed)
    assert rows.parts["table"].sum() == 12
