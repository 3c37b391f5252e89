"""Small stand-ins for the known data sets, in their files' own formats."""

import gzip
import io
import tarfile
import wave

import numpy as np
from sklearn.datasets import load_digits


def write_all(folder):
    """Write every known set below ``folder``: scikit-learn's digits as MNIST, the rest made up."""
    for name in ("mnist", "fashion-mnist"):
        write_mnist(folder / name)
    write_fsdd(folder / "fsdd")
    write_newsgroups(folder / "20ng-bow")
    write_dna(folder / "tabular")
    write_sst2(folder / "sent-conv")
    return folder


def write_mnist(folder):
    """Write 1,797 real digits, drawn three times as large and with a margin: 28×28 pixels."""
    folder.mkdir(parents=True)
    digits = load_digits()
    images = np.kron(digits.images * 15, np.ones((1, 3, 3))).astype(np.uint8)
    images = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    for part, rows in (("train", slice(0, 1500)), ("t10k", slice(1500, None))):
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images[rows])
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", digits.target[rows].astype(np.uint8))


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), 1))


def wav(samples, rate=8000, channels=1):
    """Return the bytes of a wav file of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def write_fsdd(folder, recordings=12):
    """Write one tone for each digit, with noise, as an archive."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    time = np.arange(4000) / 8000
    with tarfile.open(folder / "recordings.tar.gz", "w:gz", compresslevel=1) as archive:
        for digit in range(10):
            for number in range(recordings):
                tone = 0.3 * np.sin(2 * np.pi * (300 + 200 * digit) * time)
                content = wav(tone + 0.1 * rng.standard_normal(len(time)))
                member = tarfile.TarInfo(f"recordings/{digit}_ann_{number}.wav")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def write_newsgroups(folder, posts=400):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("train.feat", "test.feat"):
        lines = []
        for _ in range(posts):
            group = rng.integers(1, 21)
            words = sorted(set(rng.integers(1, 2001, 30)) | {100 * int(group)})
            lines.append(f"{group} " + " ".join(f"{w}:{rng.integers(1, 4)}" for w in words))
        (folder / name).write_text("\n".join(lines) + "\n")


def write_dna(folder, rows=300):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (rows, 180))
    kinds = np.array(["ei", "ie", "n"])[bits[:, 90] + bits[:, 91]]
    lines = [",".join(f"V{i + 1}" for i in range(180)) + ",Class"]
    lines += [",".join(map(str, row)) + f",{kind}" for row, kind in zip(bits, kinds, strict=True)]
    (folder / "DNA.csv").write_text("\n".join(lines) + "\n")


def write_sst2(folder, sentences=300):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part in ("train", "dev", "test"):
        lines = []
        for _ in range(sentences):
            label = rng.integers(0, 2)
            words = [f"word{n}" for n in rng.integers(0, 80, rng.integers(3, 12))]
            lines.append(f"{label} " + " ".join([*words, ("dull", "fine")[label]]))
        (folder / f"stsa.binary.{part}").write_text("\n".join(lines) + "\n")
