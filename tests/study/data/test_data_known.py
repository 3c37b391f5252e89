"""Known data sets: newsgroups, DNA, spoken digits, SST-2."""

import functools
import http.server
import io
import tarfile
import threading
from pathlib import Path

import numpy as np
import pooch
import pytest

from dropkit.study import StudyError, compare
from dropkit.study.data import DataError, _fsdd, _newsgroups, load, load_sst2
from dropkit.study.data._fsdd import digest, log_mel, mel_filters
from dropkit.study.data._newsgroups import FILES
from helpers.known_sets import wav, write_dna, write_fsdd, write_newsgroups, write_sst2

REAL = Path(__file__).parents[4] / "shared" / "data"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"needs the data in {REAL}")


def test_newsgroups_are_logarithms_of_counts_at_length_1(tmp_path):
    folder = tmp_path / "20ng-bow"
    folder.mkdir()
    (folder / "train.feat").write_text("3 1:1 2000:3\n20 5:2\n1\n")
    (folder / "test.feat").write_text("1 7:1\n")
    data = load("20ng-bow", data_dir=tmp_path)
    assert data.X.shape == (2, 2000)  # the third post has none of the words
    np.testing.assert_array_equal(data.y, [2, 19])
    first = np.log([2, 4])
    np.testing.assert_allclose(data.X[0, [0, 1999]], first / np.linalg.norm(first), rtol=1e-6)
    assert data.X[1, 4] == 1.0


@pytest.mark.parametrize(
    "line",
    [
        "3 2001:1",
        "21 1:1",
        "0 1:1",
        "a 1:1",
        "1 1=2",
        "é 1:1",
        "1 3:nan",
        "1 3:-1",
        "1 3:0",
        "1 3:" + "9" * 400,
    ],
)
def test_newsgroups_in_another_format(tmp_path, line):
    write_newsgroups(tmp_path / "20ng-bow", posts=2)
    with (tmp_path / "20ng-bow" / "train.feat").open("a", encoding="latin-1") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"train\.feat is damaged.*download it again"):
        load("20ng-bow", data_dir=tmp_path)


def test_half_a_set_names_what_is_missing(tmp_path):
    write_newsgroups(tmp_path / "20ng-bow", posts=2)
    (tmp_path / "20ng-bow" / "test.feat").unlink()
    with pytest.raises(DataError, match=r"has train\.feat but no .*test\.feat"):
        load("20ng-bow", data_dir=tmp_path)
    with pytest.raises(DataError, match=r"no train\.feat in"):
        load("20ng-bow", data_dir=tmp_path / "elsewhere")


def test_dna(tmp_path):
    write_dna(tmp_path / "tabular", rows=40)
    data = load("dna", data_dir=tmp_path)
    assert data.X.shape == (40, 180)
    assert data.classes == ("ei", "ie", "n")
    assert data.X_test is None


@pytest.mark.parametrize("end", [",n", ",", ""], ids=["a 7", "no class", "a cut row"])
def test_dna_in_another_format(tmp_path, end):
    write_dna(tmp_path / "dna", rows=40)
    table = (tmp_path / "dna" / "DNA.csv").read_text().splitlines()
    first = "7" if end == ",n" else "0"
    table[3] = first + table[3][1:].rpartition(",")[0] + end
    (tmp_path / "dna" / "DNA.csv").write_text("\n".join(table))
    with pytest.raises(DataError, match=r"180 columns of zeros and ones.*write it again"):
        load("dna", data_dir=tmp_path)


def test_dna_is_not_downloaded(monkeypatch):
    monkeypatch.delenv("DROPKIT_DATA", raising=False)
    with pytest.raises(DataError, match=r"mlbench.*write\.csv.*data_dir"):
        load("dna")


def test_mel_filters_cover_every_frequency_between_their_ends():
    filters = mel_filters()
    assert filters.shape == (40, 101)
    assert (filters >= 0).all()
    assert filters.max() <= 1.0
    # Overlapping triangles of neighbours add up to 1 between the first peak and the last.
    first, last = filters[0].argmax(), filters[-1].argmax()
    np.testing.assert_allclose(filters.sum(0)[first + 1 : last], 1.0, atol=1e-12)


def test_log_mel_finds_the_band_of_a_tone_and_its_time():
    time = np.arange(2400) / 8000  # 0.3 s
    features = log_mel(0.5 * np.sin(2 * np.pi * 1000 * time))
    assert features.shape == (40, 64)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 42) / 2595) - 1)
    band = int(np.abs(edges[1:-1] - 1000).argmin())
    assert abs(int(features[:, 5].argmax()) - band) <= 1
    assert features[:, 40:].max() == pytest.approx(np.log(1e-6))  # silence follows
    assert log_mel(np.zeros(100_000)).shape == (40, 64)


def test_fsdd_from_an_archive_and_from_a_folder(tmp_path):
    write_fsdd(tmp_path / "fsdd", recordings=7)
    data = load("fsdd", data_dir=tmp_path)
    assert data.X.shape == (20, 1, 40, 64)
    assert data.X_test.shape == (50, 1, 40, 64)  # numbers 0 to 4 of every digit
    np.testing.assert_array_equal(np.bincount(data.y_test), [5] * 10)
    with tarfile.open(tmp_path / "fsdd" / "recordings.tar.gz") as archive:
        archive.extractall(tmp_path / "fsdd", filter="data")
    (tmp_path / "fsdd" / "recordings.tar.gz").unlink()
    assert load("fsdd", data_dir=tmp_path).fingerprint == data.fingerprint


def test_an_archive_writes_nothing_anywhere(tmp_path):
    content = wav(np.zeros(10))
    (tmp_path / "data").mkdir()
    with tarfile.open(tmp_path / "data" / "recordings.tar.gz", "w:gz") as archive:
        for name in ("../../3_eve_0.wav", "/3_eve_9.wav"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    before = sorted(tmp_path.rglob("*"))
    assert len(load("fsdd", data_dir=tmp_path / "data").X) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"RIFF", "no wav file"),
        (wav(np.zeros(10))[:-1], "truncated"),
        (wav(np.zeros(10))[:-2], "truncated"),
        (wav(np.zeros(10), rate=16000), r"mono, 16 bits, 8000 Hz.*16000"),
        (wav(np.zeros(10), channels=2), "mono"),
    ],
)
def test_fsdd_with_a_foreign_sound(tmp_path, content, message):
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "3_ann_0.wav").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load("fsdd", data_dir=tmp_path)


def test_fsdd_needs_both_parts_and_whole_archives(tmp_path):
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "3_ann_0.wav").write_bytes(wav(np.zeros(10)))
    with pytest.raises(DataError, match="training set"):
        load("fsdd", data_dir=tmp_path)
    with pytest.raises(DataError, match=r"no recordings\.tar\.gz"):
        load("fsdd", data_dir=tmp_path / "elsewhere")
    write_fsdd(tmp_path / "fsdd", recordings=2)
    whole = (tmp_path / "fsdd" / "recordings.tar.gz").read_bytes()
    (tmp_path / "fsdd" / "recordings.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated"):
        load("fsdd", data_dir=tmp_path)


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A local server's folder and its address; downloads go below ``tmp_path``."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    folder = tmp_path / "www"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("DROPKIT_DATA", raising=False)
    monkeypatch.setattr(_fsdd, "URL", f"http://127.0.0.1:{server.server_port}/")
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_fsdd_is_downloaded_once_and_its_content_checked(served, tmp_path, monkeypatch):
    write_fsdd(tmp_path / "made", recordings=6)
    (tmp_path / "made" / "recordings.tar.gz").rename(served / _fsdd.ARCHIVE)
    sounds = _fsdd._unpack_recordings(served / _fsdd.ARCHIVE)
    with pytest.raises(DataError, match="other recordings than expected"):
        load("fsdd")
    monkeypatch.setattr(_fsdd, "SHA256", digest(sounds))
    assert len(load("fsdd").X) == 10
    (served / _fsdd.ARCHIVE).unlink()
    assert len(load("fsdd").X) == 10


def test_a_truncated_download_is_not_kept(served, tmp_path, monkeypatch):
    write_fsdd(tmp_path / "made", recordings=6)
    whole = (tmp_path / "made" / "recordings.tar.gz").read_bytes()
    (served / _fsdd.ARCHIVE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated"):
        load("fsdd")
    (served / _fsdd.ARCHIVE).write_bytes(whole)
    monkeypatch.setattr(_fsdd, "SHA256", digest(_fsdd._unpack_recordings(served / _fsdd.ARCHIVE)))
    assert len(load("fsdd").X) == 10


def test_files_with_another_hash_are_refused(served, monkeypatch):
    write_newsgroups(served / "20news", posts=2)
    monkeypatch.setattr(_newsgroups, "URL", f"{_fsdd.URL}20news/")
    with pytest.raises(DataError, match="cannot download 20ng-bow"):
        load("20ng-bow")
    hashes = {name: f"sha256:{pooch.file_hash(served / '20news' / name)}" for name in FILES}
    monkeypatch.setattr(_newsgroups, "FILES", hashes)
    assert len(load("20ng-bow").X) == 2


def test_sst2_numbers_words_by_frequency(tmp_path):
    folder = tmp_path / "sent-conv"
    folder.mkdir()
    (folder / "stsa.binary.train").write_text("1 fine fine film\n0 film once\n")
    (folder / "stsa.binary.dev").write_text("0 dull dull\n")
    (folder / "stsa.binary.test").write_text("1 fine never seen before\n")
    data = load_sst2(tmp_path)
    assert data.X.tolist() == [[2, 2, 3, 0], [3, 1, 0, 0], [4, 4, 0, 0]]
    assert data.X_test.tolist() == [[2, 1, 1, 1]]
    assert data.y.tolist() == [1, 0, 0]
    assert load("sst-2", data_dir=tmp_path).fingerprint == data.fingerprint
    (folder / "stsa.binary.dev").write_bytes("0 voilà\N{NO-BREAK SPACE}là\n".encode())
    assert (load_sst2(tmp_path).X[2] != 0).sum() == 2
    (folder / "stsa.binary.dev").write_bytes(b"0 voil\xe0\n")
    with pytest.raises(DataError, match="another format"):
        load_sst2(tmp_path)
    (folder / "stsa.binary.dev").write_text("2 dull\n")
    with pytest.raises(DataError, match="0 or 1 and a sentence"):
        load_sst2(tmp_path)
    (folder / "stsa.binary.dev").write_text("dull\n")
    with pytest.raises(DataError, match="another format"):
        load_sst2(tmp_path)


def test_comparing_numbers_of_words_is_refused(tmp_path):
    write_sst2(tmp_path / "sent-conv", sentences=40)
    with pytest.raises(StudyError, match="integer features are read as word numbers"):
        compare("sst-2", data_dir=str(tmp_path), methods="none", seeds=1, epochs=1)


@real
def test_real_sets():
    sizes = {
        name: (len(data.X), len(data.X_test) if data.X_test is not None else 0)
        for name in ("fsdd", "20ng-bow", "dna")
        for data in [load(name, data_dir=REAL)]
    }
    assert sizes == {"fsdd": (2700, 300), "20ng-bow": (11_268, 7505), "dna": (3186, 0)}
    assert digest(_fsdd._find_recordings(REAL)) == _fsdd.SHA256
    sst2 = load_sst2(REAL)
    assert (len(sst2.X), len(sst2.X_test)) == (6920 + 872, 1821)


def test_small_sets_load(tmp_path):
    write_sst2(tmp_path / "sent-conv", sentences=20)
    assert load_sst2(tmp_path).X.shape[0] == 40
