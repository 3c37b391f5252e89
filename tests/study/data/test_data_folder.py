"""Folders of images."""

import numpy as np
import pytest
from PIL import Image

from dropkit.study.data import DataError, load, split


def paint(path, value=0, *, size=(6, 4), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = value if mode in ("L", "I;16") else (value, 0, 255)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def pets(tmp_path):
    for i in range(3):
        paint(tmp_path / "pets" / "cat" / f"{i}.png", 10 + i)
        paint(tmp_path / "pets" / "none" / f"{i}.png", 20 + i)
    return tmp_path / "pets"


def test_gray_images(pets):
    data = load(pets)
    assert (data.name, data.classes, data.task) == ("pets", ("cat", "none"), "classification")
    assert data.X.shape == (6, 1, 4, 6)
    assert data.X.dtype == np.uint8
    assert data.X[:, 0, 0, 0].tolist() == [10, 11, 12, 20, 21, 22]
    assert data.y.tolist() == [0, 0, 0, 1, 1, 1]


def test_one_image_in_colour_makes_three_channels(pets):
    paint(pets / "cat" / "9.png", 99, mode="RGB")
    data = load(pets)
    assert data.X.shape == (7, 3, 4, 6)
    assert data.X[3, :, 0, 0].tolist() == [99, 0, 255]
    assert data.X[0, :, 0, 0].tolist() == [10, 10, 10]


def test_train_and_test_folders(pets, tmp_path):
    paint(tmp_path / "both" / "test" / "none" / "a.png", 30)
    pets.rename(tmp_path / "both" / "train")
    data = load(tmp_path / "both")
    assert len(data.X) == 6
    assert data.X_test[:, 0, 0, 0].tolist() == [30]
    assert data.y_test.tolist() == [1]


def test_a_class_of_trains(pets):
    paint(pets / "train" / "a.png")
    assert load(pets).classes == ("cat", "none", "train")


def test_other_files_are_ignored_with_a_note(pets):
    (pets / "cat" / "read.txt").write_text("me")
    (pets / "cat" / ".hidden.png").write_text("me")
    assert load(pets).notes == (
        f"ignored 1 files that are no images, such as {pets / 'cat' / 'read.txt'}",
    )


def test_sizes_differ(pets):
    paint(pets / "none" / "7.png", size=(8, 8))
    with pytest.raises(DataError, match=r"0.png is 6x4, .*7.png is 8x8 pixels; make") as caught:
        load(pets)
    assert str(caught.value).endswith("with --image-size 4")
    before = {file: file.read_bytes() for file in pets.rglob("*.png")}
    assert load(pets, image_size=5).X.shape == (7, 1, 5, 5)
    assert {file: file.read_bytes() for file in pets.rglob("*.png")} == before
    with pytest.raises(DataError, match="image_size has no meaning for 'digits'"):
        load("digits", image_size=5)


def test_the_middle_is_kept_and_nothing_is_stretched(pets):
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, 40:80] = 200  # a square in the middle, and black beside it
    Image.fromarray(wide).save(pets / "cat" / "0.png")
    Image.fromarray(wide.transpose(1, 0, 2)).save(pets / "cat" / "1.png")
    pixels = load(pets, image_size=10).X
    assert pixels[:2, :, 1:-1, 1:-1].min() == 200  # the edges blend into what is beside them
    assert pixels[:2].min() > 150


def test_images_are_turned_as_their_tag_says(pets):
    tag = Image.Exif()
    tag[0x0112] = 6  # the camera was turned by a quarter
    rows = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    for file in pets.rglob("*.png"):
        Image.fromarray(rows).save(file, exif=tag)
    np.testing.assert_array_equal(load(pets).X[0, 0], np.rot90(rows, -1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_white(pets, mode):
    image = Image.new(
        "LA" if mode == "LA" else "RGBA", (6, 4), (0, 0) if mode == "LA" else (9, 9, 9, 0)
    )
    image = image.convert("P") if mode == "P" else image
    image.save(pets / "cat" / "0.png", **({"transparency": 0} if mode == "P" else {}))
    data = load(pets)
    assert data.X.shape[1] == (1 if mode == "LA" else 3)
    assert data.X[0].min() == 255
    assert "1 images are partly transparent: transparent pixels become white" in data.notes


def test_a_validation_folder(pets, tmp_path):
    paint(tmp_path / "both" / "val" / "none" / "a.png", 30)
    pets.rename(tmp_path / "both" / "train")
    for data in (
        load(tmp_path / "both"),
        load(tmp_path / "both" / "train", val=tmp_path / "both" / "val"),
    ):
        parts = split(data, seed=0, test_fraction=1 / 3)
        assert data.X[parts.val, 0, 0, 0].tolist() == [30]
        assert (len(parts.train), len(parts.test)) == (4, 2)


def test_unreadable_image(pets):
    (pets / "none" / "7.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"7.png cannot be read as an image"):
        load(pets)
    paint(pets / "none" / "7.png", 300, mode="I;16")
    with pytest.raises(DataError, match=r"7.png has pixels of mode 'I;16'"):
        load(pets)


def test_truncated_image(pets):
    file = pets / "none" / "7.png"
    noise = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:70])
    with pytest.raises(DataError, match=r"7.png cannot be read as an image"):
        load(pets)


def test_test_folder_of_another_class(pets, tmp_path):
    paint(tmp_path / "test" / "cats" / "a.png")
    with pytest.raises(DataError, match="did you mean 'cat'"):
        load(pets, test=tmp_path / "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no class subfolders with images"):
        load(pets, test=tmp_path / "empty")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "is empty"),
        (["only/a.png"], "at least two class subfolders"),
        (["rows.csv"], "give .*rows.csv"),
        (["results.json"], "is the folder of a study, not data"),
        (["a.png", "b.png"], "it holds a.png, b.png"),
    ],
)
def test_folders_without_classes(tmp_path, files, message):
    for name in files:
        paint(tmp_path / f"{name}.png") if not name.endswith(".png") else paint(tmp_path / name)
        if not name.endswith(".png"):
            (tmp_path / f"{name}.png").rename(tmp_path / name)
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_hidden_folders_are_passed_over_and_others_beside_train_are_named(pets, tmp_path):
    paint(pets / "cat" / ".ipynb_checkpoints" / "0-checkpoint.png", 10)
    assert len(load(pets).X) == 6
    paint(tmp_path / "both" / "old" / "none" / "a.png", 30)
    pets.rename(tmp_path / "both" / "train")
    assert "left out the folder old" in load(tmp_path / "both").notes
