"""Data sets of Hugging Face's library."""

import numpy as np
import pandas as pd
import pytest

from dropkit.errors import StudyError
from dropkit.study import compare, inspect
from dropkit.study.data import DataError, from_arrays

datasets = pytest.importorskip("datasets")

COUNT = 60
RNG = np.random.default_rng(0)
KINDS = RNG.integers(0, 3, COUNT).tolist()
SIZES = (RNG.normal(size=COUNT) + KINDS).tolist()
COLOURS = RNG.choice(["red", "green"], COUNT).tolist()
GRADES = RNG.integers(0, 2, COUNT).tolist()
NAMES = ["wolf", "ant", "bee"]  # not in the order of the alphabet


def table(rows=slice(None)):
    return datasets.Dataset.from_dict(
        {
            "size": SIZES[rows],
            "species": KINDS[rows],
            "colour": COLOURS[rows],
            "grade": GRADES[rows],
        },
        features=datasets.Features(
            {
                "size": datasets.Value("float32"),
                "species": datasets.ClassLabel(names=NAMES),
                "colour": datasets.Value("string"),
                "grade": datasets.ClassLabel(names=["poor", "good"]),
            }
        ),
    )


def pictures(mode="RGB", sizes=((8, 8),)):
    from PIL import Image

    images = [
        Image.fromarray(RNG.integers(0, 255, (*sizes[i % len(sizes)], 3), np.uint8)).convert(mode)
        for i in range(COUNT)
    ]
    return datasets.Dataset.from_dict(
        {"image": images, "label": KINDS},
        features=datasets.Features(
            {"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)}
        ),
    )


def test_columns_keep_their_names_and_classes_theirs():
    data = from_arrays(table(), "species")
    assert [column.name for column in data.columns] == ["size", "colour", "grade"]
    assert [column.kind for column in data.columns] == ["number", "category", "category"]
    assert [data.classes[i] for i in data.y] == [NAMES[i] for i in KINDS]
    assert data.X["grade"].tolist() == [["poor", "good"][i] for i in GRADES]
    np.testing.assert_array_equal(data.X["size"], np.float32(SIZES))


def test_it_is_the_study_of_the_same_data_frame():
    frame = pd.DataFrame({"size": np.float32(SIZES), "colour": COLOURS})
    labels = pd.Series(pd.Categorical([NAMES[i] for i in KINDS]), name="species")
    given = table().select_columns(["size", "colour", "species"])
    assert from_arrays(given).fingerprint == from_arrays(frame, labels).fingerprint


def test_numbers_are_predicted_as_well():
    data = from_arrays(table(), "size")
    assert data.task == "regression"
    np.testing.assert_array_equal(data.y, np.float32(SIZES))


def test_classes_with_names_that_look_like_numbers_stay_classes():
    names = [str(i) for i in range(40)]
    given = datasets.Dataset.from_dict(
        {"a": [i % 7 for i in range(400)], "y": [i % 40 for i in range(400)]},
        features=datasets.Features(
            {"a": datasets.Value("int64"), "y": datasets.ClassLabel(names=names)}
        ),
    )
    data = from_arrays(given)
    assert (data.task, data.classes[-1]) == ("classification", "9")


def test_splits_are_the_parts():
    splits = datasets.DatasetDict(
        train=table(slice(40)),
        validation=table(slice(40, 50)),
        test=table(slice(50, 60)),
        unsupervised=table(slice(5)),
    )
    data = from_arrays(splits, "species")
    assert len(data.y) == 50
    assert data.val_rows.tolist() == list(range(40, 50))
    assert data.X_test["size"].tolist() == np.float32(SIZES[50:]).tolist()
    assert data.y[40:].tolist() == [sorted(NAMES).index(NAMES[i]) for i in KINDS[40:50]]
    assert "left out the splits unsupervised" in data.notes
    with pytest.raises(DataError, match="X has the split 'test' already; leave X_test out"):
        from_arrays(splits, "species", X_test=table())


def test_a_test_split_without_labels_is_left_out():
    hidden = table(slice(9)).map(lambda row: {"species": -1})
    data = from_arrays(datasets.DatasetDict(train=table(), test=hidden), "species")
    assert data.X_test is None
    assert "left out the test split, which holds no labels" in data.notes
    with pytest.raises(DataError, match="target 'species' is missing or NaN in 9 of 9 rows"):
        from_arrays(hidden, "species")


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_images(mode, channels):
    given = pictures(mode)
    data = from_arrays(given)
    assert data.X.shape == (COUNT, channels, 8, 8)
    assert data.X.dtype == np.uint8
    first = np.atleast_3d(np.asarray(given[3]["image"])).transpose(2, 0, 1)
    np.testing.assert_array_equal(data.X[3], first)
    assert [data.classes[i] for i in data.y] == [NAMES[i] for i in KINDS]


def test_images_of_several_sizes_are_brought_to_one():
    given = pictures(sizes=((8, 8), (6, 10)))
    with pytest.raises(DataError, match=r"X\[0\] is 8x8, X\[1\] is 10x6 pixels; .*--image-size 6"):
        from_arrays(given)
    assert inspect(given, image_size=6).inputs == (3, 6, 6)


@pytest.mark.parametrize("shape", [(3,), (2, 4)])
def test_arrays_in_a_column(shape):
    rows = RNG.normal(size=(COUNT, *shape)).astype(np.float32)
    given = datasets.Dataset.from_dict({"x": rows.tolist(), "label": KINDS})
    data = from_arrays(given)
    np.testing.assert_array_equal(data.X.reshape(rows.shape), rows)


def test_columns_beside_images_or_arrays_are_several_inputs():
    given = pictures().add_column("size", SIZES).add_column("grade", GRADES)
    parts = datasets.DatasetDict(
        train=given.select(range(40)), validation=given.select(range(40, 60))
    )
    data = from_arrays(parts, "label")
    assert data.X.shape == {"image": (3, 8, 8), "size": (1,), "grade": ()}
    assert data.val_rows.tolist() == list(range(40, 60))
    np.testing.assert_array_equal(data.X.parts["size"][:, 0], np.float32(SIZES))
    assert data.X.parts["grade"].tolist() == GRADES


def test_arrays_of_unequal_length_are_sequences_and_lists_of_labels_several_targets():
    words = [RNG.integers(1, 9, 1 + i % 4).tolist() for i in range(COUNT)]
    labels = RNG.integers(0, 2, (COUNT, 2)).tolist()
    data = from_arrays(datasets.Dataset.from_dict({"ids": words, "labels": labels}))
    assert [row.tolist() for row in data.X.parts["X"]] == words
    assert (data.task, data.y.tolist()) == ("multi-label", labels)


def test_formats_and_chosen_rows_do_not_matter():
    given = table().with_format("torch").select(range(20, 50))
    data = from_arrays(given, "species")
    assert data.X["colour"].tolist() == COLOURS[20:50]


@pytest.mark.parametrize(
    ("given", "settings", "message"),
    [
        (lambda: table(), {}, "say with y= which column to predict: it is one of size, species"),
        (lambda: table(), {"y": "kinds"}, "no column 'kinds' to predict"),
        (lambda: table(), {"y": KINDS}, "y must be the name of a column of the data set, got list"),
        (lambda: table(), {"y": "grade", "task": "regression"}, "'grade' holds classes"),
        (lambda: table(), {"y": "grade", "image_size": 8}, "image_size has no meaning"),
        (lambda: table().to_iterable_dataset(), {"y": "grade"}, "streaming=False"),
        (lambda: table(slice(0)), {"y": "grade"}, "X is empty"),
        (
            lambda: table(),
            {"y": "grade", "X_test": np.eye(3)},
            "so X_test must be one, got ndarray",
        ),
        (
            lambda: pictures().add_column("file", COLOURS),
            {},
            r"'file' of X holds no numbers.*leave it out: select_columns\(\['image', 'label'\]\)",
        ),
    ],
)
def test_refused(given, settings, message):
    with pytest.raises(StudyError, match=message):
        inspect(given(), **settings)


def test_compared():
    settings = {"methods": ["none"], "seeds": 1, "epochs": 1, "hidden": (4,), "jobs": 1}
    results = compare(table(), "species", **settings)
    assert results.record.data.classes == ("ant", "bee", "wolf")
    assert [column.name for column in results.record.data.columns] == ["size", "colour", "grade"]
