"""Whole studies of models with several inputs, and of sequences of unequal length."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, nn

from dropkit import cli
from dropkit.study import Results, StudyError, compare
from dropkit.study.processes import count_cores
from dropkit.study.record import Record

RNG = np.random.default_rng(0)
COUNT = 240
IMAGE = RNG.integers(0, 256, (COUNT, 4, 4), np.uint8)
TABLE = RNG.normal(5, 3, (COUNT, 3))
# Neither the image nor the table alone tells the class.
Y = (IMAGE.mean((1, 2)) - 127.5) / 18 + (TABLE[:, 0] - 5) / 3 > 0
WORDS = [RNG.integers(1, 12, RNG.integers(2, 9)) for _ in range(COUNT)]
HAS_THREE = np.array([3 in row for row in WORDS])
SMALL = {"seeds": 2, "epochs": 3, "jobs": 1}

MODELS = """
import torch
from torch import nn


class Both(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        pixels = inputs["image"][-1] * inputs["image"][-2]
        self.image = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 16), nn.ReLU())
        self.table = nn.Sequential(nn.Linear(*inputs["table"], 16), nn.ReLU())
        self.head = nn.Linear(32, outputs)

    def forward(self, image, table):
        return self.head(torch.cat([self.image(image), self.table(table)], 1))


class Gru(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.embedding = nn.Embedding(12, 16, padding_idx=0)
        self.gru = nn.GRU(16, 24, batch_first=True)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(24, outputs)

    def forward(self, ids, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(ids), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        return self.head(self.drop(self.gru(packed)[1][-1]))
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("models") / "nets.py"
    file.write_text(MODELS)
    return str(file)


def runs_of(results: Results) -> list[Any]:
    return [replace(run, timing=None) for run in results.runs]


def test_a_model_of_two_inputs_learns_from_both(models: str) -> None:
    both = {"image": IMAGE, "table": TABLE}
    learned = SMALL | {"methods": "none,dropout", "epochs": 40, "lr": 0.2, "batch_size": 32}
    results = compare(both, Y, model=f"{models}:Both", **learned)
    errors = [run.test.value for run in results.runs if run.test]
    alone = compare(TABLE, Y, hidden=(32,), **learned)
    assert max(errors) < 0.2
    assert max(errors) < min(run.test.value for run in alone.runs if run.test)
    assert results.data.inputs == {"image": (1, 4, 4), "table": (3,)}
    assert Record.from_json(results.record.to_json()) == results.record


def test_every_kind_of_method_trains_a_model_of_two_inputs(models: str) -> None:
    methods = [
        "none", "dropout(p=0,input=0)", "dropout", "noise", "max-norm(c=0.5)", "weight-decay", "l1",
        "r-drop", "drop-connect", "annealed-dropout", "thinned-dropout", "early-stopping",
        "ensemble(members=2)", "paper-dropout",
    ]  # fmt: skip
    both = {"image": IMAGE, "table": TABLE}
    results = compare(both, Y, model=f"{models}:Both", methods=methods, **SMALL | {"seeds": 1})
    losses = {run.method: run.curve.train_loss for run in results.runs}
    assert losses.pop("dropout(p=0,input=0)") == losses["none"]
    assert losses.pop("thinned-dropout") == losses["annealed-dropout"]  # in so small a batch
    assert losses.pop("early-stopping") == losses["none"]
    assert len(set(losses.values())) == len(losses)  # each did something


@pytest.mark.parametrize("method", ["fast-dropout", "explicit-dropout", "dropout-ridge"])
def test_what_needs_one_array_is_refused_by_name(models: str, method: str) -> None:
    both = {"image": IMAGE, "table": TABLE}
    with pytest.raises(StudyError, match=f"{method} does not fit .* data hold image 1x4x4 and"):
        compare(both, TABLE[:, 0], model=f"{models}:Both", methods=["none", method], **SMALL)
    with pytest.raises(StudyError, match=f"{method} does not fit .* the data hold sequences"):
        compare(WORDS, TABLE[:, 0], model=f"{models}:Gru", methods=["none", method], **SMALL)


class Halves(nn.Module):
    """The same network on one array, and on its halves by name."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, outputs))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out


class Named(Halves):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(torch.cat([left, right], 1))


def test_columns_that_differ_between_seeds_need_a_network_that_takes_the_shape(models: str) -> None:
    table = TABLE.copy()
    table[::60, 1] = np.nan  # which the training rows of some seeds lack, and the feature for it
    both = {"image": IMAGE, "table": table}
    settings = SMALL | {"methods": "none", "seeds": 6, "epochs": 1, "val_fraction": 0.7}
    assert compare(both, Y, model=f"{models}:Both", **settings)
    first = compare(both, Y, model=f"{models}:Both", **settings | {"seeds": 1}).data.inputs["table"]

    class Fixed(nn.Module):
        def __init__(self, outputs: int) -> None:
            super().__init__()
            self.head = nn.Linear(16 + first[0], outputs)

        def forward(self, image: Tensor, table: Tensor) -> Tensor:
            out: Tensor = self.head(torch.cat([image.flatten(1), table], 1))
            return out

    with pytest.raises(
        StudyError, match=r"rows are of shape image 1x4x4 and table \d here and image"
    ):
        compare(both, Y, model=lambda inputs, outputs: Fixed(outputs), **settings)


HALVED = {"methods": "none,dropout(input=0),max-norm(c=1),r-drop(input=0)", "preprocess": False}


def test_several_inputs_give_the_numbers_of_one_array_to_the_last_bit() -> None:
    X = RNG.normal(size=(COUNT, 4))
    alone = compare(X, Y, model=lambda inputs, outputs: Halves(outputs), **SMALL, **HALVED)
    halves = {"left": X[:, :2], "right": X[:, 2:]}
    named = compare(halves, Y, model=lambda inputs, outputs: Named(outputs), **SMALL, **HALVED)
    assert runs_of(named) == runs_of(alone)


class Mean(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 16), nn.ReLU())
        self.head = nn.Linear(16, outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x).mean(1))
        return out


class MaskedMean(Mean):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        out: Tensor = self.head(self.body(x).mean(1) * mask[:, :1])
        return out


def test_sequences_of_equal_length_give_the_numbers_of_one_array_to_the_last_bit() -> None:
    X = RNG.normal(size=(COUNT, 5, 2))
    alone = compare(X, Y, model=lambda inputs, outputs: Mean(outputs), **SMALL, **HALVED)
    given = {"x": X, "lengths": np.full(COUNT, 5)}
    told = compare(given, Y, model=lambda inputs, outputs: MaskedMean(outputs), **SMALL, **HALVED)
    assert runs_of(told) == runs_of(alone)
    assert told.data.inputs == alone.data.inputs == (5, 2)


def test_a_recurrent_network_learns_from_sequences_and_a_study_of_it_goes_on(
    models: str, tmp_path: Path
) -> None:
    settings = SMALL | {
        "model": f"{models}:Gru",
        "methods": "none,dropout(input=0)",
        "seeds": 1,
        "optimizer": "adam",
        "lr": 0.05,
        "batch_size": 32,
        "epochs": 8,
    }
    first = compare(WORDS, HAS_THREE, out=tmp_path / "run", **settings)
    assert max(run.test.value for run in first.runs if run.test) < 0.1
    assert first.methods == ("none", "dropout(input=0)", "as-is")
    assert "X is read as sequences of 2 to 8 steps" in first.data.notes

    two = compare(WORDS, HAS_THREE, **settings | {"jobs": 2})
    assert runs_of(two) == runs_of(first)

    kept = sorted((tmp_path / "run" / "runs").iterdir())
    for file in kept[::2]:
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    assert runs_of(compare(WORDS, HAS_THREE, out=tmp_path / "run", **settings)) == runs_of(first)

    study = tmp_path / "run" / "study.toml"
    assert cli.run(["compare", str(study), "--out", str(tmp_path / "again"), "--jobs", "1"]) == 0
    assert runs_of(Results.load(tmp_path / "again")) == runs_of(first)


@pytest.mark.skipif(
    not distributed.is_available() or count_cores() < 2 or torch.cuda.device_count() == 1,
    reason="needs torch.distributed and two processor cores, or two GPUs",
)
def test_two_devices_share_the_rows_of_sequences_and_tables(models: str) -> None:
    settings = SMALL | {"seeds": 1, "methods": "none", "model": f"{models}:Gru", "lr": 0.5}
    alone, shared = (compare(WORDS, HAS_THREE, devices=devices, **settings) for devices in (1, 2))
    np.testing.assert_allclose(
        shared.runs[0].curve.train_loss, alone.runs[0].curve.train_loss, rtol=1e-4
    )
    assert shared.runs[0].test.loss == pytest.approx(alone.runs[0].test.loss, rel=1e-4)


def test_from_the_command_line(
    models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("both.npz", image=IMAGE, table=TABLE, y=Y)
    lengths = [len(row) for row in WORDS]
    np.savez("words.npz", X=np.concatenate(WORDS), lengths=lengths, y=HAS_THREE)
    quick = "--methods none,dropout(input=0) --seeds 1 --epochs 1 --jobs 1"
    for file, net in (("both.npz", "Both"), ("words.npz", "Gru")):
        words = f"compare {file} --model {models}:{net} {quick}"
        assert cli.run(words.split()) == 0
    capsys.readouterr()
    assert cli.run(["inspect", "both.npz", "--html", "both.html"]) == 0
    shown = capsys.readouterr().out
    assert "2 inputs" in shown
    assert "image: rows of shape 1x4x4, whole numbers from 0 to 255; divided by 255" in shown
    assert "table: rows of shape 3" in Path("both.html").read_text()
    for words, line in (
        ("compare both.npz", "the model 'mlp' takes one array, but the data hold image 1x4x4 and"),
        ("compare words.npz", "the model 'mlp' needs features that are not integers, got seq"),
        (f"compare words.npz --model {models}:Both", "fails: TypeError"),
    ):
        assert cli.run([*words.split(), *quick.split()]) == 2
        error = capsys.readouterr().err
        assert line in error
        assert error.count("\n") == 1


def test_sequences_of_numbers_fit_the_built_in_network(models: str) -> None:
    series = [RNG.normal(size=(len(row), 2)) for row in WORDS]
    results = compare(series, HAS_THREE, methods="none,dropout", hidden=(8,), **SMALL)
    assert results.data.inputs == (8, 2)


def test_an_embedding_that_is_too_small_is_found_out_before_any_training() -> None:
    class Net(nn.Module):
        def __init__(self, words: int, outputs: int) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(words, 4), nn.Linear(7, outputs)

        def forward(self, table: Tensor, ids: Tensor, ids_mask: Tensor) -> Tensor:
            means = (self.embedding(ids) * ids_mask[..., None]).sum(1) / ids_mask.sum(1)[:, None]
            out: Tensor = self.head(torch.cat([means, table], 1))
            return out

    X = {"table": TABLE, "ids": [*WORDS[1:], np.array([1, 40])]}
    settings = SMALL | {"methods": "none,noise", "seeds": 1, "epochs": 1}
    assert compare(X, Y, model=lambda inputs, outputs: Net(41, outputs), **settings)
    with pytest.raises(StudyError, match="fails on rows of shape table 3 and ids 8 in evaluation"):
        compare(X, Y, model=lambda inputs, outputs: Net(40, outputs), **settings)
    with pytest.raises(StudyError, match="integers cannot be dropped or made noisy"):
        compare(
            {"a": WORDS, "b": WORDS},
            Y,
            model=lambda inputs, outputs: TwoWords(outputs),
            **settings,
        )


class TwoWords(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(12, outputs)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        out: Tensor = self.embedding(a).mean(1) + self.embedding(b).mean(1)
        return out


class Answer(Halves):
    """Returns what Hugging Face's models do, and ends as asked for."""

    def __init__(self, outputs: int, end: Any) -> None:
        super().__init__(outputs)
        self.end = end

    def forward(self, x: Tensor) -> Any:
        return self.end(self.body(x))


def test_logits_among_what_a_model_returns_are_taken() -> None:
    X = RNG.normal(size=(COUNT, 4))
    settings = SMALL | {"methods": "none,dropout,r-drop,ensemble(members=2)"}
    plain, wrapped = (
        compare(X, Y, model=lambda inputs, outputs, end=end: Answer(outputs, end), **settings)
        for end in (lambda x: x, lambda x: {"loss": None, "logits": x})
    )
    assert runs_of(wrapped) == runs_of(plain)


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (lambda x: x.softmax(1), "Softmax"),
        (lambda x: torch.sigmoid(x)[:, :], "Sigmoid"),
        (lambda x: {"logits": x.softmax(1).reshape(x.shape)}, "Softmax"),
        (lambda x: x.log_softmax(1), None),
        (lambda x: 3 * x.softmax(1), None),
    ],
)
def test_a_function_that_squeezes_the_outputs_is_noticed(end: Any, kind: str | None) -> None:
    X = RNG.normal(size=(COUNT, 4))
    settings = {"methods": "none", "seeds": 1, "epochs": 1, "jobs": 1}
    results = compare(X, Y, model=lambda inputs, outputs: Answer(outputs, end), **settings)
    notes = [note for note in results.data.notes if "the model ends in" in note]
    assert len(notes) == (kind is not None)
    assert all(f"ends in {kind}, which" in note for note in notes)
