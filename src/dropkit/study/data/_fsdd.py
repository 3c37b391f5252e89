"""Load spoken digits as log-mel features."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import wave
from pathlib import Path

import numpy as np

from dropkit.errors import DataError
from dropkit.study.data._data import Array, Data
from dropkit.study.data._fetch import download, given_folder

URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/"
ARCHIVE = "v1.0.10.tar.gz"
# Hash of the names and contents of all recordings, because the bytes of the archive may change.
SHA256 = "0fbe6612aaa20a80ef4371894a46e060038337a518fe3d4728cb7eee7caa013c"

RATE = 8000  # samples per second
WINDOW, HOP, BANDS, FRAMES = 200, 80, 40, 64  # 25 ms, 10 ms, mel bands, 0.64 s
_NAME = re.compile(r"(?:^|/)(\d)_([a-z]+)_(\d+)\.wav$")
_TEST_BELOW = 5  # the official test recordings are those numbered 0 to 4


def load_fsdd(data_dir: Path | None = None) -> Data:
    """Load the Free Spoken Digit Dataset with its official split.

    Each recording becomes the logarithm of its energy in 40 mel bands, in 64 frames of 25 ms every
    10 ms: shape (1, 40, 64). Shorter recordings are padded with silence, longer recordings are cut.

    ``recordings.tar.gz``, or a folder ``recordings`` of wav files, is looked up in ``data_dir`` or
    ``$DROPKIT_DATA``: in its subfolder fsdd, then in the folder itself. If neither folder is given,
    the archive is downloaded once, and its content is checked.
    """
    folder = given_folder(data_dir)
    sounds = _download_recordings() if folder is None else _find_recordings(folder)
    if not sounds:
        raise DataError("fsdd: no recordings named like 7_jackson_32.wav; download them again")
    parts: dict[bool, tuple[list[Array], list[int]]] = {True: ([], []), False: ([], [])}
    for name, content in sorted(sounds.items()):
        match = _NAME.search(name)
        assert match is not None
        features, digits = parts[int(match[3]) < _TEST_BELOW]
        features.append(log_mel(_decode_wav(name, content)))
        digits.append(int(match[1]))
    if not parts[True][0] or not parts[False][0]:
        raise DataError(
            "fsdd: there must be recordings numbered 0 to 4, which are the test set, and others, "
            "which are the training set; download them again"
        )
    (X, y), (X_test, y_test) = (
        (np.stack(features)[:, np.newaxis], np.array(digits, np.int64))
        for features, digits in (parts[False], parts[True])
    )
    classes = tuple("0123456789")
    return Data("fsdd", X, y, "classification", classes, "digit", X_test, y_test)


def log_mel(samples: Array) -> Array:
    """Return the log-mel features (bands, frames) of one recording with values in [-1, 1]."""
    length = WINDOW + HOP * (FRAMES - 1)
    padded = np.zeros(length, np.float64)
    padded[: min(length, len(samples))] = samples[:length]
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=1)) ** 2
    # Add about the energy of the lowest bit, so that the logarithm of silence is finite.
    features: Array = np.log(mel_filters() @ power.T + 1e-6).astype(np.float32)
    return features


def mel_filters() -> Array:
    """Return triangular filters (bands, frequencies), evenly spaced on the mel scale.

    The mel scale of a frequency f in Hz is ``2595·log₁₀(1 + f/700)``.
    """
    highest = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, BANDS + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(WINDOW, 1 / RATE)
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    filters: Array = np.maximum(0, np.minimum(rising, falling))
    return filters


def _decode_wav(name: str, content: bytes) -> Array:
    try:
        with wave.open(io.BytesIO(content)) as sound:
            kind = sound.getnchannels(), sound.getsampwidth(), sound.getframerate()
            promised = sound.getnframes()
            raw = sound.readframes(promised)
    except Exception as error:  # wave raises many kinds
        raise DataError(f"{name} is no wav file ({error}); download it again") from error
    if kind != (1, 2, RATE):
        raise DataError(
            f"{name} must be mono, 16 bits, 8000 Hz; it has (channels, bytes, Hz) {kind}"
        )
    if len(raw) != 2 * promised:
        raise DataError(f"{name} is truncated: its header promises more; download it again")
    samples: Array = np.frombuffer(raw, "<i2") / 32768
    return samples


def _find_recordings(folder: Path) -> dict[str, bytes]:
    for place in (folder / "fsdd", folder):
        if (place / "recordings.tar.gz").is_file():
            return _unpack_recordings(place / "recordings.tar.gz")
        files = (place / "recordings").glob("*.wav")
        sounds = {file.name: file.read_bytes() for file in files if _NAME.search(file.name)}
        if sounds:
            return sounds
    raise DataError(
        f"no recordings.tar.gz and no folder recordings in {folder / 'fsdd'} or {folder}; give the "
        "folder that holds it, or no folder to download it"
    )


def _download_recordings() -> dict[str, bytes]:
    (archive,) = download("fsdd", URL, {ARCHIVE: None})
    try:
        sounds = _unpack_recordings(archive)
        if digest(sounds) != SHA256:
            raise DataError(f"{URL}{ARCHIVE} holds other recordings than expected; try again later")
    except DataError:
        archive.unlink()  # otherwise the next call would use it
        raise
    return sounds


def digest(sounds: dict[str, bytes]) -> str:
    """Return the SHA-256 of all names and contents, in the order of the names."""
    total = hashlib.sha256()
    for name, content in sorted(sounds.items()):
        total.update(name.encode() + hashlib.sha256(content).digest())
    return total.hexdigest()


def _unpack_recordings(archive: Path) -> dict[str, bytes]:
    """Return the recordings in an archive by file name, without writing files."""
    sounds = {}
    try:
        with tarfile.open(archive) as members:
            for member in members:
                if member.isfile() and _NAME.search(member.name):
                    content = members.extractfile(member)
                    assert content is not None
                    sounds[Path(member.name).name] = content.read()
    except Exception as error:  # tarfile and zlib raise many kinds
        raise DataError(
            f"{archive} is truncated or no archive ({error}); download it again"
        ) from error
    return sounds
