"""The ways in, each as a function of bytes: an exception is a fault, unless it tells the user.

What is structured, such as results, is made of a whole one by edits that the bytes choose.
"""

import gzip
import io
import json
import tarfile
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from dropkit.study import Results, Run, Study, StudyError, compare
from dropkit.study.analysis import analyze
from dropkit.study.data import from_arrays, load
from dropkit.study.data._idx import read_idx
from dropkit.study.methods.parsing import parse, parse_list
from dropkit.study.prepare import prepare_study
from dropkit.study.record import Record
from dropkit.study.report import show
from dropkit.study.report.files import to_csv
from dropkit.study.store.folder import RunFolder
from dropkit.study.store.manifest import Manifest
from dropkit.study.training.folds import make_fold
from dropkit.study.training.models import factory
from dropkit.study.training.once import train_once

HERE = Path(tempfile.mkdtemp(prefix="dropkit-fuzzing-"))


@contextmanager
def only_study_errors() -> Iterator[None]:
    """Ignore a `StudyError` with a message; other errors pass on."""
    try:
        yield
    except StudyError as error:
        assert str(error).strip()  # noqa: PT017


class Choices:
    """Bytes as a row of choices; zeros when they are used up."""

    def __init__(self, content: bytes) -> None:
        self.left = list(reversed(content))

    def below(self, count: int) -> int:
        return (self.left.pop() if self.left else 0) % count

    def of(self, things: Any) -> Any:
        return things[self.below(len(things))]


def file(suffix: str) -> Callable[[bytes], None]:
    """Loads the bytes as a file of this kind."""

    def target(content: bytes) -> None:
        path = HERE / f"data{suffix}"
        path.write_bytes(content)
        with only_study_errors():
            load(path)

    return target


def array_archive(content: bytes) -> None:
    """An array of an archive, whose zip is whole."""
    path = HERE / "arrays.npz"
    y = io.BytesIO()
    np.save(y, np.arange(30) % 2)
    with zipped(path) as put:
        put("X.npy", content)
        put("y.npy", y.getvalue())
    with only_study_errors():
        load(path)


@contextmanager
def zipped(path: Path) -> Iterator[Callable[[str, bytes], None]]:
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        yield archive.writestr


def idx(content: bytes) -> None:
    """An idx file, and the same compressed."""
    for name, raw in (("plain", content), ("packed", gzip.compress(content, 1))):
        path = HERE / name
        path.write_bytes(raw)
        with only_study_errors():
            read_idx(path)


def image(content: bytes) -> None:
    """An image among others in a folder of classes."""
    for name in ("a", "b"):
        folder = HERE / "images" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "first.pgm").write_bytes(b"P5 2 2 255 \x00\x01\x02\x03")
    (HERE / "images/b/second.png").write_bytes(content)
    with only_study_errors():
        load(HERE / "images")


def sounds(content: bytes) -> None:
    """An archive of recordings, and a recording in a whole archive."""
    folder = HERE / "sounds"
    folder.mkdir(exist_ok=True)
    (folder / "recordings.tar.gz").write_bytes(content)
    with only_study_errors():
        load("fsdd", data_dir=folder)
    with tarfile.open(folder / "recordings.tar.gz", "w") as archive:
        member = tarfile.TarInfo("1_a_7.wav")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    with only_study_errors():
        load("fsdd", data_dir=folder)


def known_text(content: bytes) -> None:
    """The known sets that are text: the first byte says which."""
    which = content[:1] or b"\0"
    folder = HERE / "known"
    folder.mkdir(exist_ok=True)
    names = {
        "20ng-bow": ("train.feat", "test.feat"),
        "dna": ("DNA.csv",),
        "sst-2": ("stsa.binary.train", "stsa.binary.dev", "stsa.binary.test"),
    }
    name = list(names)[which[0] % 3]
    for part in names[name]:
        (folder / part).write_bytes(content[1:])
    with only_study_errors():
        load(name, data_dir=folder)


def expression(content: bytes) -> None:
    """Method expressions, which read back as what they print."""
    text = content.decode("utf-8", "replace")
    with only_study_errors():
        for part in parse_list(text):
            found = parse(part)
            assert parse(str(found)) == found


def study_file(content: bytes) -> None:
    """A study's file, by itself and in a folder of runs; it reads back as what it writes."""
    path = HERE / "study.toml"
    path.write_bytes(content)
    with only_study_errors():
        study = Study.from_toml(path)
        assert Study.from_dict(tomllib.loads(study.to_toml())) == study
    with only_study_errors():
        RunFolder.of(HERE)


@cache
def finished() -> Path:
    """A folder of a small study."""
    rows = np.random.default_rng(0).normal(size=(40, 3))
    compare(rows, (rows[:, 0] > 0).astype(int), methods="none,dropout", seeds=2, epochs=2,
            hidden=(4,), jobs=1, out=HERE / "run")  # fmt: skip
    return HERE / "run"


def look_at(record: Record) -> None:
    """Everything that a report says, figures left out, which take long."""
    show(analyze(record), Console(file=io.StringIO(), width=80))
    to_csv(record)


# What the bytes of the corpus mean rests on the order of these, and of what follows below.
VALUES = [None, -1, 0, 1, 0.5, "", "x", "none", "<b>", "\x1b[2J", [], {}, True, 1e30, 10**30,
          [1], -0.0, 1e-320, "finished", "diverged", "regression", 2**63, {"x": 1.0},
          [None]]  # fmt: skip


def edited(whole: Any, choices: Choices) -> Any:
    """What is left of a JSON document after the edits that were chosen."""
    while choices.left:
        place = whole
        while True:
            if not place:
                break
            key = choices.of(list(place) if isinstance(place, dict) else range(len(place)))
            inside = place[key]
            if not isinstance(inside, dict | list) or not inside or choices.below(4) == 0:
                match choices.below(8):
                    case 0:
                        del place[key]
                    case 1 if isinstance(place, list):
                        place.append(inside)
                    case _:
                        place[key] = choices.of(VALUES)
                break
            place = inside
        if not whole:
            break
    return whole


def results_text(content: bytes) -> None:
    """Results as text."""
    with only_study_errors():
        look_at(Record.from_json(content))


def results_edited(content: bytes) -> None:
    """Results that are JSON and nearly whole."""
    whole = json.loads((finished() / "results.json").read_text())
    with only_study_errors():
        look_at(Record.from_json(json.dumps(edited(whole, Choices(content)))))


@cache
def folder_of_runs() -> tuple[RunFolder, Results]:
    return RunFolder.of(finished()), Results.load(finished())


def run_file(content: bytes) -> None:
    """The file of a training: as bytes, and sealed, which takes no secret, around an edited one."""
    folder, results = folder_of_runs()
    name = folder._name("dropout", 0, None)
    path = finished() / name
    whole = path.read_bytes()
    try:
        path.write_bytes(content)
        assert folder.load("dropout", 0) is None or content == whole
        run = json.dumps(edited(json.loads(whole)["run"], Choices(content)))
        path.write_bytes(folder._seal(path.name, run.encode()))
        found = folder.load("dropout", 0)
        if isinstance(found, Run):
            runs = [found if (r.method, r.seed) == ("dropout", 0) else r for r in results.runs]
            with only_study_errors():
                look_at(Record.from_json(replace(results.record, runs=tuple(runs)).to_json()))
    finally:
        path.write_bytes(whole)


def manifest(content: bytes) -> None:
    """The manifest of a folder."""
    folder = HERE / "listed"
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_bytes(content)
    with only_study_errors():
        assert Manifest.read(folder) is not None


class Odd(nn.Module):
    """A network with outputs of any kind."""

    def __init__(self, content: bytes, inputs: int, outputs: int) -> None:
        super().__init__()
        self.content = content
        self.net = nn.Sequential(nn.Linear(inputs, 4), nn.ReLU(), nn.Linear(4, outputs))

    def forward(self, x: Tensor) -> Any:
        choices = Choices(self.content)
        y: Any = self.net(x)
        if choices.below(2) and not self.training:
            return y
        while choices.left:
            change = choices.of(CHANGES)
            y = change(y, choices)
        return y


def _pick(things: Any) -> Callable[[Any, Choices], Any]:
    return lambda y, choices: choices.of(things)(y)


CHANGES: list[Callable[[Any, Choices], Any]] = [
    _pick([lambda y: y.T, lambda y: y[0], lambda y: y[:, :1], lambda y: y[..., None],
           lambda y: y[:0], lambda y: y.flatten(), lambda y: y.sum(), lambda y: y.squeeze()]),
    _pick([lambda y: y.double(), lambda y: y.half(), lambda y: y.int(), lambda y: y > 0,
           lambda y: y.to(torch.complex64), lambda y: y.bfloat16(), lambda y: y.to("meta")]),
    _pick([lambda y: y * float("nan"), lambda y: y / 0, lambda y: y * 1e38 * 1e38,
           lambda y: y.detach(), lambda y: y * 0, lambda y: y.log(), lambda y: -y / 0]),
    _pick([lambda y: (y,), lambda y: [y, y], lambda y: {"logits": y}, lambda y: None,
           lambda y: y.detach().numpy(), lambda y: "y", lambda y: 1.0, lambda y: iter(y)]),
    _pick([lambda y: y.to_sparse(), lambda y: nn.Parameter(y.detach()), lambda y: y.relu_(),
           lambda y: torch.zeros_like(y, requires_grad=True), lambda y: y.clone(),
           lambda y: y.expand(3, *y.shape), lambda y: y.contiguous(), lambda y: y.softmax(-1)]),
    _pick([lambda y: torch.cat([y, y]), lambda y: torch.cat([y, y], -1),
           lambda y: y + torch.randn(()),
           lambda y: y[torch.randperm(len(y))], lambda y: y.flip(0), lambda y: y.abs()]),
]  # fmt: skip


@cache
def small(task: str) -> Any:
    rows = np.random.default_rng(0).normal(size=(40, 3))
    y = rows[:, 0]
    return from_arrays(rows, (y > 0).astype(int) if task == "classification" else y)


def model_outputs(content: bytes) -> None:
    """A model whose outputs are odd is refused, or trained to the end."""
    choices = Choices(content[:2])
    data = small(choices.of(["classification", "regression"]))
    method = choices.of(["none", "dropout", "early-stopping", "ensemble(members=2)"])

    def make(inputs: tuple[int, ...], outputs: int) -> nn.Module:
        return Odd(content[2:], inputs[0], outputs)

    study = Study(data="odd", model="make", methods=(method,), seeds=1, epochs=1)
    with only_study_errors():
        prepare_study(study, data, make)
        if len(content) > 2 and content[2] % 8 == 0:  # training takes a while
            fold = make_fold(data, study, 0)
            run = train_once(study, factory(make, ()), fold, study.methods[0], 0)
            assert run.status in ("finished", "diverged")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "csv": file(".csv"),
    "tsv": file(".tsv"),
    "parquet": file(".parquet"),
    "npz": file(".npz"),
    "npy-in-npz": array_archive,
    "idx": idx,
    "image": image,
    "sounds": sounds,
    "known-text": known_text,
    "expression": expression,
    "study-file": study_file,
    "results-text": results_text,
    "results-edited": results_edited,
    "run-file": run_file,
    "manifest": manifest,
    "model-outputs": model_outputs,
}
