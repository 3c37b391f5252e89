"""Studies on a real Ray cluster of two nodes, through the loss of workers and of a node."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

from ray.cluster_utils import Cluster
from sklearn.datasets import make_classification
from torch import distributed, nn

from dropkit.cli import run
from dropkit.study import StudyError, compare, compare_training
from dropkit.study.processes import count_cores
from dropkit.study.workers.cluster import RayWorkers
from dropkit.study.workers.portable import portable
from helpers.training import write_training

pytestmark = pytest.mark.soak

STUDY = {"methods": "none,dropout", "epochs": 2, "hidden": (16,)}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def rows() -> tuple[Any, Any]:
    X, y = make_classification(200, 8, random_state=0)
    return X.astype("float32"), y


def numbers(results: Any) -> list[dict[str, Any]]:
    runs = json.loads(results.record.to_json())["runs"]
    return [{key: value for key, value in run.items() if key != "timing"} for run in runs]


def refused(words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> str:
    out = tmp_path / "run"
    assert run(["compare", "digits", "--epochs", "1", "--out", str(out), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert not out.exists()
    return line


def test_no_cluster_here(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The first test: ``auto`` would find the cluster that the others start."""
    said = refused(["--ray", "auto"], capsys, tmp_path)
    assert said.startswith("dropkit: cannot join the Ray cluster at auto")
    assert said.endswith("start one with: ray start --head")


def test_numbers_are_those_of_this_machine(cluster: Cluster, rows: tuple[Any, Any]) -> None:
    here = compare(*rows, **STUDY, seeds=3, tune=2, jobs=1)
    there = compare(*rows, **STUDY, seeds=3, tune=2, ray=cluster.address)
    assert numbers(there) == numbers(here)
    assert there.tuned == here.tuned
    assert there.timing["jobs"] == "2 on 2 nodes of a Ray cluster"


def test_a_training_of_ones_own_trains_on_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    name, study = write_training(tmp_path), {"methods": "as-is,dropout", "seeds": 2, "tune": 2}
    here = compare_training(name, **study, jobs=1)
    there = compare_training(name, **study, ray=cluster.address)
    assert numbers(there) == numbers(here)
    assert there.tuned == here.tuned
    assert there.timing["jobs"] == "2 on 2 nodes of a Ray cluster"


def test_trials_are_pruned_as_on_this_machine(cluster: Cluster, rows: tuple[Any, Any]) -> None:
    settings = {**STUDY, "epochs": 4, "seeds": 1, "tune": 14, "prune": True}
    here = compare(*rows, **settings, jobs=1)
    there = compare(*rows, **settings, ray=cluster.address)
    assert numbers(there) == numbers(here)
    assert (there.tuned, there.tuning) == (here.tuned, here.tuning)
    assert sum(taken.pruned for taken in here.tuning.values()) > 0


@pytest.mark.skipif(
    not distributed.is_available() or count_cores() < 2, reason="needs two processes"
)
def test_a_training_on_two_devices(cluster: Cluster, rows: tuple[Any, Any]) -> None:
    settings = {**STUDY, "methods": "dropout", "devices": 2, "seeds": 2}
    with pytest.raises(StudyError, match="no node of the Ray cluster has the 2 CPUs"):
        compare(*rows, **settings, ray=cluster.address)
    there = compare(*rows, **settings, ray=cluster.address, cpus_per_run=1)
    assert numbers(there) == numbers(compare(*rows, **settings, jobs=1))


def test_the_function_is_sent_once(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    put = ray.put
    sent = []
    monkeypatch.setattr(ray, "put", lambda value: sent.append(value) or put(value))
    square = partial(pow, exp=2)
    with RayWorkers(cluster.address) as workers:
        for _ in range(3):
            assert sorted(workers.map(square, range(5))) == [(i, i * i) for i in range(5)]
    assert [function for _, function in sent] == [square]


def test_workers_leave_what_they_import_out_of_garbage_collection(cluster: Cluster) -> None:
    """Nothing that Ray itself imports is frozen."""

    def state(_: int) -> tuple[bool, int]:
        return gc.isenabled(), gc.get_freeze_count()

    with RayWorkers(cluster.address) as workers:
        for _, (enabled, frozen) in workers.map(state, range(4)):
            assert enabled
            assert frozen > 100_000


def test_a_killed_worker_costs_one_training_a_second_start(
    cluster: Cluster, tmp_path: Path
) -> None:
    killed = str(tmp_path / "killed")

    def once(item: int) -> int:
        if item == 3 and not os.path.exists(killed):
            open(killed, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    said: list[str] = []
    with RayWorkers(cluster.address) as workers:
        done = sorted(workers.map(once, range(6), said.append))
    assert done == [(i, i) for i in range(6)]
    assert len(said) == 1
    assert said[0].startswith("3: its worker was lost (WorkerCrashedError")
    assert said[0].endswith("; restarting it")


def test_a_training_that_kills_every_worker_is_given_up(cluster: Cluster) -> None:
    def deadly(item: int) -> int:
        if item == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    said: list[str] = []
    done: list[int] = []
    with RayWorkers(cluster.address) as workers:
        with pytest.raises(StudyError, match=r"^1: its worker was lost 3 times \(Worker"):
            done += (item for item, _ in workers.map(deadly, range(30), said.append))
        assert [line.endswith("; restarting it") for line in said] == [True, True, False]
    assert sorted(done) == [0, *range(2, 30)]


def test_a_lost_node_changes_nothing(
    cluster: Cluster, rows: tuple[Any, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = tmp_path / "nodes"
    nodes.mkdir()

    def slow(inputs: tuple[int, ...], outputs: int) -> nn.Module:
        import ray

        if ray.is_initialized():
            (nodes / ray.get_runtime_context().get_node_id()).touch()
        net = nn.Sequential(nn.Linear(inputs[0], 8), nn.ReLU(), nn.Linear(8, outputs))
        net.register_forward_hook(lambda *_: time.sleep(0.02))
        return net

    node = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    study: dict[str, Any] = STUDY | {"model": slow, "epochs": 20, "seeds": 6}
    out = tmp_path / "run"

    def lose() -> None:
        while not (nodes / node.node_id).exists():
            time.sleep(0.01)
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=lose)
    thread.start()
    there = compare(*rows, **study, ray=cluster.address, out=out, progress=True)
    thread.join()
    assert "restarting it" in capsys.readouterr().err
    assert numbers(there) == numbers(compare(*rows, **study, jobs=2))


def test_a_cluster_that_shrinks(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """More is handed in than what is left of it would be given."""
    slots = iter([8])
    monkeypatch.setattr("dropkit.study.workers.cluster.LOOK", 0.0)
    monkeypatch.setattr(RayWorkers, "_slots", lambda self: next(slots, 1))
    with RayWorkers(cluster.address) as workers:
        assert sorted(workers.map(abs, range(20))) == [(i, i) for i in range(20)]


def test_what_a_training_raises_arrives_as_it_was(cluster: Cluster) -> None:
    def fails(item: int) -> int:
        raise StudyError("in one line")

    with RayWorkers(cluster.address) as workers, pytest.raises(StudyError) as caught:
        list(workers.map(fails, [1]))
    assert str(caught.value) == "in one line"


def test_a_model_file_travels_with_what_lies_beside_it(tmp_path: Path) -> None:
    from ray import cloudpickle

    (tmp_path / "beside_it.py").write_text("from torch import nn\nclass Act(nn.Tanh): pass\n")
    (tmp_path / "mine.py").write_text(
        "from torch import nn\nfrom beside_it import Act\n"
        "class Net(nn.Sequential):\n    pass\n"
        "def make(inputs, outputs): return Net(nn.Linear(inputs[0], 4), Act(), "
        "nn.Linear(4, outputs))\n"
    )
    sent = tmp_path / "sent"
    sent.write_bytes(cloudpickle.dumps(portable(f"{tmp_path / 'mine.py'}:make")))
    (tmp_path / "mine.py").unlink()
    (tmp_path / "beside_it.py").unlink()
    code = f"import pickle; print(pickle.load(open({str(sent)!r}, 'rb'))((3,), 2))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=True
    )
    assert "Act()" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ray", "127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1: Connection refused"),
        (["--ray", "nowhere"], "a Ray address is auto or host:port, got 'nowhere'"),
        (["--ray", "ray://127.0.0.1:1"], "a Ray address is auto or host:port, got 'ray://127"),
        (["--ray", "auto", "--jobs", "2"], "--jobs is only for this machine"),
        (["--cpus-per-run", "2"], "are for a Ray cluster; add --ray"),
        (["--ray", "auto", "--gpus-per-run", "1.5"], "gpus-per-run must be 0 or more, whole"),
        (["--ray", "auto", "--cpus-per-run", "0"], "cpus-per-run must be above 0"),
    ],
)
def test_bad_addresses_and_amounts(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert said in refused(words, capsys, tmp_path)


def test_more_than_any_node_has(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = refused(["--ray", cluster.address, "--gpus-per-run", "1"], capsys, tmp_path)
    assert "no node of the Ray cluster has the 1 CPUs and 1 GPUs that a training asks" in said
    assert "the largest have 1 CPUs and 0 GPUs" in said


def test_a_node_with_another_version(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "dropkit-9.9.dist-info").mkdir()
    (tmp_path / "dropkit-9.9.dist-info" / "METADATA").write_text("Name: dropkit\nVersion: 9.9\n")
    node = cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": str(tmp_path)})
    cluster.wait_for_nodes()
    try:
        said = refused(["--ray", cluster.address], capsys, tmp_path)
    finally:
        cluster.remove_node(node)
    assert "has dropkit 9.9, and " in said
    assert said.endswith("install the same version on every node")
