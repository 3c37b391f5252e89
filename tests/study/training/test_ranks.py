"""Trainings on two processes: the same as on one, equal weights, other masks, an end together."""

import gc
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import distributed, nn

from dropkit import cli
from dropkit.noise import Dropout
from dropkit.study import Results, Study, StudyError, compare
from dropkit.study.methods.parsing import parse
from dropkit.study.processes import count_cores
from dropkit.study.record import Run
from dropkit.study.training.batches import Batches
from dropkit.study.training.devices import _find_cause, _leave, call_on_devices, check_devices
from dropkit.study.training.folds import Fold
from dropkit.study.training.once import train_on_rank, train_once
from dropkit.study.training.ranks import Rank
from dropkit.study.training.sgd import SGD
from helpers.fabricated import untimed
from helpers.processes import heed_ctrl_c
from helpers.waiting import HANGS, wait_until

needs_two = pytest.mark.skipif(
    not distributed.is_available() or count_cores() < 2 or torch.cuda.device_count() == 1,
    reason="needs torch.distributed and two processor cores, or two GPUs",
)

# Without noise, so that two processes must give what one gives. 151 rows in batches of 50 leave
# one row over, which joins the batch before it; 50 rows fall in halves, 51 do not.
EXACT = ["none", "max-norm(c=0.7)", "l1(coefficient=0.01)", "early-stopping(patience=1)"]
NOISY = [
    "dropout+max-norm(c=0.7)", "torch-dropout", "annealed-dropout", "thinned-dropout(groups=2)",
    "r-drop", "explicit-dropout(noise=1)", "concrete-dropout", "drop-connect",
    "dropout+ensemble(members=2)",
]  # fmt: skip


def fold(rows: int, dtype: torch.dtype, task: str = "classification", val: int = 51) -> Fold:
    torch.manual_seed(0)
    x = torch.randn(rows + 100, 6, dtype=dtype)
    y = x[:, 0] - 0.5 * x[:, 1] + 0.5 * torch.randn(rows + 100, dtype=dtype)
    y = (y > 0).long() if task == "classification" else y
    parts = {"train": slice(rows), "val": slice(rows, rows + val), "test": slice(rows + val, None)}
    named = {f"{k}_{p}": v[s] for p, s in parts.items() for k, v in (("x", x), ("y", y))}
    return Fold(task=task, outputs=2 if task == "classification" else 1, scale=1.0, **named)


def net(inputs: tuple[int, ...], outputs: int) -> nn.Module:
    layers = nn.Linear(*inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()
    return nn.Sequential(*layers, nn.Linear(64, outputs))


def wide(inputs: tuple[int, ...], outputs: int) -> nn.Module:
    return net(inputs, outputs).double()


def study(**settings: Any) -> Study:
    return Study(data="rows", **{"epochs": 3, "batch_size": 50, "devices": 2, **settings})


def watched(rank: Rank, make: Any, rows: Fold, method: str) -> tuple[Run, list[bool], list[bool]]:
    """A training; whether all weights agree after each step, and masks in the first."""
    weights: list[bool] = []
    masks: list[torch.Tensor] = []

    step = SGD.step

    def stepped(optimizer: SGD) -> None:
        step(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        content = b"".join(p.detach().numpy().tobytes() for p in parameters)
        weights.append(len(set(rank.gather(hashlib.sha256(content).digest()))) == 1)

    def called(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        # Behind hidden units zeros need not be the mask's; the inputs themselves hold none.
        drops = isinstance(layer, Dropout | nn.Dropout) and layer.training
        # What follows a model without running it calls layers too, with what is no tensor.
        if drops and isinstance(output, torch.Tensor) and inputs[0].shape[1:] == (6,):
            masks.append(output[:20] != 0)

    hook = nn.modules.module.register_module_forward_hook(called)
    with patch.object(SGD, "step", stepped):
        run = train_on_rank(rank, study(), make, rows, parse(method), 0, {}, True)
    hook.remove()
    both = [each[0] for each in rank.gather(masks) if each]  # drawn after as many others
    return run, weights, [torch.equal(*both)] if both else []


def everything(rank: Rank) -> dict[str, Any]:
    """All that two processes are needed for, at once: they take seconds to start."""
    return {
        **{method: watched(rank, wide, fold(151, torch.float64), method) for method in EXACT},
        **{method: watched(rank, net, fold(151, torch.float32), method) for method in NOISY},
        "again": watched(rank, net, fold(151, torch.float32), "torch-dropout"),
        "regression": watched(
            rank, wide, fold(151, torch.float64, "regression"), "explicit-dropout"
        ),
        "few": watched(rank, wide, fold(103, torch.float64, val=3), "none"),
        "normalized": watched(rank, normalized, fold(103, torch.float32), "dropout"),
        "sometimes": watched(rank, Sometimes, fold(151, torch.float32), "none"),
        "diverging": watched(rank, net, fold(151, torch.float32), "dropout+larger-steps(lr=1e9)"),
    }


def normalized(inputs: tuple[int, ...], outputs: int) -> nn.Module:
    layers = nn.Linear(*inputs, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, outputs)
    return nn.Sequential(*layers)


class Sometimes(nn.Module):
    """A layer that each rank leaves out as its own random numbers have it."""

    def __init__(self, inputs: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(*inputs, 8), nn.Linear(8, outputs)
        self.middle, self.never = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).relu()
        return self.last(self.middle(x) if not self.training or torch.rand(()) < 0.5 else x)


@pytest.fixture(scope="module")
def done() -> dict[str, tuple[Run, list[bool], list[bool]]]:
    return call_on_devices(2, everything)


def same(one: Run, two: Run) -> None:
    """Equal up to rounding, which in float64 cannot reach 1e-10 in so few steps; a row too many
    or a wrong weight moves the loss by a thousandth and more."""
    assert (one.steps, one.selected_epoch, one.status) == (
        two.steps,
        two.selected_epoch,
        "finished",
    )
    assert one.curve.step == two.curve.step
    assert one.curve.train_loss == pytest.approx(two.curve.train_loss, rel=1e-10)
    assert one.curve.val_loss == pytest.approx(two.curve.val_loss, rel=1e-10)
    assert one.curve.val_value == pytest.approx(two.curve.val_value, rel=1e-10)
    assert one.test is not None
    assert two.test is not None
    assert one.test.loss == pytest.approx(two.test.loss, rel=1e-10)
    assert one.row_errors == two.row_errors or one.test.miscalibration is None


@needs_two
@pytest.mark.parametrize("method", EXACT)
def test_two_processes_train_as_one_does(done: dict[str, Any], method: str) -> None:
    run, equal, _ = done[method]
    same(train_once(study(devices=1), wide, fold(151, torch.float64), parse(method), 0), run)
    assert equal
    assert all(equal)


@needs_two
def test_a_penalty_that_is_a_mean_over_rows_too(done: dict[str, Any]) -> None:
    rows = fold(151, torch.float64, "regression")
    same(
        train_once(study(devices=1), wide, rows, parse("explicit-dropout"), 0),
        done["regression"][0],
    )


@needs_two
def test_a_batch_of_three_rows(done: dict[str, Any]) -> None:
    rows = fold(103, torch.float64, val=3)
    same(train_once(study(devices=1), wide, rows, parse("none"), 0), done["few"][0])


@needs_two
@pytest.mark.parametrize("method", [*NOISY, "normalized", "sometimes", "diverging"])
def test_weights_are_equal_to_the_bit_after_every_step(done: dict[str, Any], method: str) -> None:
    run, equal, _ = done[method]
    assert len(equal) == run.steps
    if method == "diverging":  # together, after the first epoch
        assert (run.status, run.steps) == ("diverged", 3)
    else:
        assert run.status == "finished"
    assert all(equal)


@needs_two
@pytest.mark.parametrize("method", ["dropout+max-norm(c=0.7)", "torch-dropout", "r-drop"])
def test_masks_differ_between_ranks(done: dict[str, Any], method: str) -> None:
    assert done[method][2] == [False]


@needs_two
def test_noise_is_reproducible(done: dict[str, Any]) -> None:
    first, again = done["torch-dropout"][0], done["again"][0]
    assert (first.curve, first.row_errors) == (again.curve, again.row_errors)


def collector(rank: Rank) -> tuple[bool, int]:
    return gc.isenabled(), gc.get_freeze_count()


@pytest.mark.soak
@pytest.mark.skipif(not distributed.is_available(), reason="needs torch.distributed")
def test_a_rank_looks_for_garbage_but_not_in_what_it_imported() -> None:
    enabled, spared = call_on_devices(1, collector)
    assert enabled
    assert spared > 100_000  # fewer than torch and Lightning bring


def test_what_is_solved_for_needs_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dropkit.study.training.once.call_on_devices", None)
    rows = fold(103, torch.float32, "regression")
    same(*(train_once(study(devices=n), wide, rows, parse("dropout-ridge"), 0) for n in (1, 2)))


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 12])
def test_shares_make_up_the_mean_of_the_batch(ranks: int, count: int) -> None:
    values = torch.arange(count, dtype=torch.float64).exp()
    means, rows = [], []
    for rank in range(ranks):
        mine, weight = Rank(rank, ranks).share(count)
        assert len(values[mine]) >= min(2, count)
        means.append(weight * values[mine].mean())
        rows += values[mine].tolist() if weight else []
    torch.testing.assert_close(torch.stack(means).mean(), values.mean())
    assert rows == values.tolist()


def test_ranks_take_the_rows_of_one_order() -> None:
    x = torch.arange(23.0)[:, None]
    whole = Batches(x, x, 5, seed=3)
    parts = [Batches(x, x, 5, 3, Rank(rank, 2)) for rank in range(2)]
    for _ in range(2):
        for (rows, *_), *shares in zip(whole, *parts, strict=True):
            taken = [x for x, _, weight in shares if weight]
            assert torch.equal(torch.cat(taken), rows)


@needs_two
@pytest.mark.soak
def test_the_command_line_gives_what_python_gives(tmp_path: Path) -> None:
    words = "compare digits --methods none,dropout --seeds 1 --epochs 1 --hidden 8"
    out = tmp_path / "run"
    assert cli.run([*words.split(), "--devices", "2", "--strategy", "ddp", "--out", str(out)]) == 0
    again = compare("digits", methods="none,dropout", seeds=1, epochs=1, hidden=(8,), devices=2)
    assert untimed(Results.load(out)) == untimed(again)


def test_one_device_keeps_the_names_of_run_folders() -> None:
    alone = Study(data="digits")
    assert not {"devices", "strategy"} & alone.identity().keys()
    assert Study(data="digits", devices=2).digest() != alone.digest()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"devices": 0}, "devices must be at least 1, got 0"),
        ({"devices": 2, "batch_size": 3}, "batch_size must be at least 2 rows for each of 2"),
        ({"strategy": "fsdp"}, "strategy cannot be 'fsdp'"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        Study.from_dict({"data": "digits", **settings})


def test_more_devices_than_there_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    x, y = np.zeros((40, 2), "float32"), np.arange(40) % 2
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(StudyError, match=r"at most \d+, .* processor cores? and no GPU; got 4096"):
        compare(x, y, devices=4096, batch_size=10_000, epochs=1, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(StudyError, match=r"^devices must be at most 2, .* has 2 GPUs; got 3$"):
        check_devices(3)
    check_devices(2)


def failing(rank: Rank, way: str) -> None:
    if rank.rank == 1 and way == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if rank.rank == 1:
        sys.exit("no more")
    distributed.recv(torch.zeros(1)) if way == "killed" else signal.pause()


@needs_two
@pytest.mark.soak
@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("killed", r"^process 2 of the 2 that train together was ended by SIGKILL, perhaps"),
        ("ended", r"^process 2 of the 2 that train together failed: SystemExit: no more$"),
    ],
)
def test_a_rank_that_ends_ends_all_with_one_line(
    way: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StudyError, match=message):
        call_on_devices(2, failing, way)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert capfd.readouterr() == ("", "")


class Odd(Exception):
    """An error that cannot be unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}\nand more")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (StudyError("as it is"), StudyError, r"^as it is$"),
        (MemoryError(), MemoryError, r"^$"),
        (torch.OutOfMemoryError("of a GPU"), torch.OutOfMemoryError, r"^of a GPU$"),
        (RuntimeError("x: can't allocate memory: y"), RuntimeError, "can't allocate memory"),
        (Odd(1, 2), StudyError, r"^process 2 of the 2 that train together failed: Odd: 1 and 2$"),
        (RuntimeError("a\nb"), StudyError, r"^process 2 of the 2 .* failed: RuntimeError: a$"),
    ],
)
def test_the_first_error_of_any_rank_is_raised(
    error: Exception, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    _leave(tmp_path / "failed-1", error)
    _leave(tmp_path / "failed-0", RuntimeError("connection closed by peer"))
    os.utime(tmp_path / "failed-1", (1, 1))
    with pytest.raises(kind, match=message):
        raise _find_cause(tmp_path, {0: 1, 1: 1}, 2)


def test_a_rank_that_did_not_start(tmp_path: Path) -> None:
    (tmp_path / "output-1").write_text("Traceback\nImportError: no module\n")
    assert str(_find_cause(tmp_path, {1: 1}, 2)).endswith(
        "ended with code 1: ImportError: no module"
    )


SCRIPT = """
import os
from pathlib import Path

import numpy as np
from torch import nn
from dropkit.study import compare

def net(inputs, outputs):
    if "RANK" in os.environ:
        Path(f"rank-{{os.getpid()}}").touch()
    return nn.Sequential(nn.Linear(inputs[0], 8), nn.ReLU(), nn.Linear(8, outputs))

x = np.random.default_rng(0).normal(size=(300, 4)).astype("float32")
y = (x[:, 0] > 0).astype(int)
if __name__ == "__main__":
    results = compare(x, y, model=net, methods="none,dropout", seeds=1, epochs={epochs},
                      batch_size=32, devices=2, jobs={jobs})
    print([run.status for run in results.runs])
"""


def start(folder: Path, **settings: int) -> "subprocess.Popen[str]":
    (folder / "study.py").write_text(SCRIPT.format(**settings))
    return subprocess.Popen(
        [sys.executable, "study.py"],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )


@needs_two
@pytest.mark.soak
def test_a_model_of_the_main_script(tmp_path: Path) -> None:
    process = start(tmp_path, epochs=1, jobs=1)
    out, err = process.communicate(timeout=HANGS)
    assert (out, err, process.returncode) == ("['finished', 'finished']\n", "", 0)
    names = sorted(path.name.partition("-")[0] for path in tmp_path.iterdir())
    assert names == ["rank"] * 4 + ["study.py"]  # a function sent by value; nothing left behind


def alive(folder: Path) -> list[int]:
    """Processes that work in this folder, zombies not counted."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            works_here = (process / "cwd").resolve() == folder.resolve()
            gone = (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if works_here and not gone:
            found.append(int(process.name))
    return found


@needs_two
@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize(("jobs", "number"), [(2, "SIGKILL"), (1, "SIGINT")])
def test_no_process_outlives_its_driver(tmp_path: Path, jobs: int, number: str) -> None:
    process = start(tmp_path, epochs=100_000, jobs=jobs)
    try:
        wait_until(lambda: len(list(tmp_path.glob("rank-*"))) == 2 * jobs)
        assert len(alive(tmp_path)) > 2 * jobs
        os.killpg(process.pid, signal.Signals[number])
        process.communicate(timeout=HANGS)
        wait_until(lambda: not alive(tmp_path))
    finally:
        for left in alive(tmp_path):
            os.kill(left, signal.SIGKILL)
