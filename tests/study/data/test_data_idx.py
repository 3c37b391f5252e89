"""The idx format, where its files are looked for, and their download."""

import functools
import gzip
import hashlib
import http.server
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dropkit.study.data import DataError, _idx, load
from dropkit.study.data._idx import SOURCES, read_idx

REAL = Path(__file__).parents[4] / "shared" / "data"
IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
LABELS = np.array([3, 1, 4, 1, 9], np.uint8)


def idx(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write_set(folder, *, compressed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for part in _idx._PARTS:
        content = idx(IMAGES if "images" in part else LABELS)
        file = folder / (f"{part}.gz" if compressed else part)
        file.write_bytes(gzip.compress(content) if compressed else content)
    return folder


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("place", [".", "mnist", "MNIST/raw"])
def test_layouts(tmp_path, place, compressed):
    write_set(tmp_path / place, compressed=compressed)
    data = load("mnist", data_dir=tmp_path)
    np.testing.assert_array_equal(data.X, IMAGES[:, None])
    assert data.X.dtype == np.uint8
    assert data.y.tolist() == data.y_test.tolist() == LABELS.tolist()


def test_folder_from_the_environment(tmp_path, monkeypatch):
    write_set(tmp_path / "fashion-mnist")
    monkeypatch.setenv("DROPKIT_DATA", str(tmp_path))
    assert load("fashion-mnist").classes[9] == "Ankle boot"


def test_folder_without_the_files(tmp_path):
    with pytest.raises(DataError, match="no train-images-idx3-ubyte"):
        load("mnist", data_dir=tmp_path)
    (write_set(tmp_path) / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError, match="but no t10k-images-idx3-ubyte"):
        load("mnist", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(idx(IMAGES))[:-20], "truncated or damaged"),
        (gzip.compress(idx(IMAGES))[:12] + b"\0" * 40, "truncated or damaged"),
        (idx(IMAGES)[:-1], r"has 75 bytes, its header promises 76"),
        (b"\x89PNG\r\n", "begins with 89 50 4e 47"),
        (b"", "begins with nothing"),
    ],
    # The bytes hold the time, which must not be in a test's name.
    ids=["end missing", "end zero", "last byte missing", "an image", "empty"],
)
def test_damaged_files(tmp_path, content, message):
    file = tmp_path / "images"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(file)


def test_labels_that_do_not_fit(tmp_path):
    file = write_set(tmp_path, compressed=False) / "train-labels-idx1-ubyte"
    file.write_bytes(idx(LABELS[:4]))
    with pytest.raises(DataError, match="do not fit"):
        load("mnist", data_dir=tmp_path)
    file.write_bytes(idx(LABELS + 1))
    with pytest.raises(DataError, match="go up to 10"):
        load("mnist", data_dir=tmp_path)


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A set on a local server in place of the real one; downloads go below ``tmp_path``."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    folder = write_set(tmp_path / "www")
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    md5 = [hashlib.md5((folder / f"{part}.gz").read_bytes()).hexdigest() for part in _idx._PARTS]
    url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setitem(SOURCES, "mnist", replace(SOURCES["mnist"], url=url, md5=tuple(md5)))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("DROPKIT_DATA", raising=False)
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_download_once(served):
    first = load("mnist")
    np.testing.assert_array_equal(first.X, IMAGES[:, None])
    for file in served.iterdir():
        file.unlink()
    assert load("mnist").fingerprint == first.fingerprint


def test_download_of_other_content_is_refused(served):
    (served / "t10k-labels-idx1-ubyte.gz").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"cannot download mnist.*data_dir"):
        load("mnist")


def test_download_that_fails(served):
    (served / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"cannot download mnist.*404"):
        load("mnist")


@pytest.mark.skipif(not (REAL / "mnist").is_dir(), reason=f"needs the data in {REAL}")
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_real_files(name):
    data = load(name, data_dir=REAL)
    assert (data.X.shape, data.X_test.shape) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    assert data.y.max() == 9
    known = dict(zip(_idx._PARTS, SOURCES[name].md5, strict=True))
    for part, md5 in known.items():
        content = (REAL / name / f"{part}.gz").read_bytes()
        assert hashlib.md5(content).hexdigest() == md5
