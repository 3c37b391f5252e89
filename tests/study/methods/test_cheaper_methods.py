"""Annealed and thinned dropout, and dropout without sampling, as methods of a study."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dropkit.analytic import DropoutRidge
from dropkit.noise import Dropout, GaussianDropout
from dropkit.study import StudyError, compare
from dropkit.study.config import Study
from dropkit.study.methods.objective import Expected, Explicit, Loss
from dropkit.study.methods.parsing import parse
from dropkit.study.methods.recipe import Recipe
from dropkit.study.record import Run
from dropkit.study.training.folds import Fold
from dropkit.study.training.insertion import regularize
from dropkit.study.training.models import mlp
from dropkit.study.training.once import train_once

CHEAPER = [
    "dropout", "annealed-dropout", "thinned-dropout", "thinned-dropout(groups=2)",
    "fast-dropout", "explicit-dropout", "explicit-dropout(noise=1)",
]  # fmt: skip


def rows(task: str, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 6)).astype(np.float32)
    noisy = x[:, 0] - 0.5 * x[:, 1] + 0.5 * rng.normal(size=count)
    return x, (noisy > 0).astype(int) if task == "classification" else noisy


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_one_trains_and_differs(task: str) -> None:
    x, y = rows(task, 800)
    results = compare(
        x, y, methods=["none", *CHEAPER], seeds=2, epochs=3, hidden=(128,), batch_size=250, jobs=1
    )
    assert all(run.status == "finished" for run in results.runs)
    losses = {run.method: run.test.loss for run in results.runs if run.seed == 0 and run.test}
    assert len(set(losses.values())) == len(losses) == len(CHEAPER) + 1


def fold(task: str) -> Fold:
    x, y = (torch.from_numpy(np.asarray(part)) for part in rows(task))
    y = y if task == "classification" else y.float()
    parts = {
        f"{a}_{part}": (x if a == "x" else y) for a in "xy" for part in ("train", "val", "test")
    }
    return Fold(task=task, outputs=2 if task == "classification" else 1, scale=1.0, **parts)


def trained(method: str, task: str = "classification") -> Run:
    study = Study(data="rows", methods=(method,), epochs=4, batch_size=100)
    return train_once(
        study, lambda inputs, outputs: mlp(inputs, outputs, (128,)), fold(task), study.methods[0], 0
    )


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The rates at which dropout layers were called in training, first to last."""
    found: list[float] = []
    forward = Dropout.forward

    def listening(layer: Dropout, x: Tensor) -> Tensor:
        if layer.training:
            found.append(float(layer.p))
        return forward(layer, x)

    monkeypatch.setattr(Dropout, "forward", listening)
    return found


def test_rates_fall_to_zero_in_the_share_of_the_budget(seen: list[float]) -> None:
    trained("annealed-dropout(p=0.5,input=0.2,until=0.5)")
    steps = 4 * 4  # 400 rows, 100 at a time, four epochs
    expected = [max(0.0, 1 - t / (steps / 2)) for t in range(steps)]
    assert seen[::2] == pytest.approx([0.2 * share for share in expected])
    assert seen[1::2] == pytest.approx([0.5 * share for share in expected])


def test_every_member_of_an_ensemble_starts_anew(seen: list[float]) -> None:
    trained("annealed-dropout(input=0)+ensemble(members=2)")
    assert seen[0] == seen[len(seen) // 2] == 0.5


def test_thinned_layers_are_not_called(seen: list[float]) -> None:
    """The hidden layer's products are; but where rates are small, a mask for every row is used."""
    trained("thinned-dropout(p=0.5,input=0)")
    assert seen
    assert max(seen) < 0.49


def test_thinned_has_the_groups(seen: list[float]) -> None:
    recipe = parse("thinned-dropout(groups=3)").recipe(Recipe(lr=0.1))
    assert (recipe.groups, recipe.anneal) == (3, 1.0)
    net = regularize(mlp((6,), 2, (128,)), recipe)
    net(torch.randn(600, 6))
    assert seen == []


def test_without_a_place_to_thin_it_is_refused() -> None:
    x, y = rows("classification", 60)
    layers = nn.Linear(6, 8), nn.Softmax(-1), nn.Dropout(0.5), nn.LayerNorm(8), nn.Linear(8, 2)
    with pytest.raises(StudyError, match=r"thinned-dropout does not fit .* none that can be"):
        compare(x, y, model=lambda: nn.Sequential(*deepcopy(layers)), methods=["thinned-dropout"])


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("rate", [0.3, 0.0])
def test_expected_loss_is_that_of_many_masks(task: str, rate: float) -> None:
    """Dropout right before the last layer: exact for a squared error.

    Over classes the logits' sums are taken for normal and, though masks are common, independent.
    """
    torch.manual_seed(0)
    data = fold(task)
    net = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), Dropout(rate), nn.Linear(64, data.outputs))
    net = net.double()
    x, y = data.x_train[:50].double(), data.y_train[:50]
    y = y if task == "classification" else y.double()
    found = Expected(net, Loss(task))(x, y)[1].item()
    sampled = torch.stack([_loss(net, x, y, task) for _ in range(4000 if rate else 1)])
    error = sampled.std().item() / len(sampled) ** 0.5 if rate else 1e-9
    bias = 3e-3 if rate and task == "classification" else 0.0
    assert found == pytest.approx(sampled.mean().item(), abs=4 * error + bias)


def test_explicit_penalty_is_what_dropout_adds() -> None:
    """Exact for a squared error and dropout right before the last layer."""
    torch.manual_seed(0)
    data = fold("regression")
    net = nn.Sequential(nn.Linear(6, 64), nn.Tanh(), Dropout(0.4), nn.Linear(64, 1)).double()
    x, y = data.x_train[:50].double(), data.y_train[:50].double()
    loss, total = Explicit(False, net, Loss("regression"))(x, y)
    assert loss.item() == pytest.approx(_loss(net.eval(), x, y, "regression").item(), rel=1e-9)
    net.train()
    sampled = torch.stack([_loss(net, x, y, "regression") for _ in range(4000)])
    error = sampled.std().item() / len(sampled) ** 0.5
    assert total.item() > loss.item()
    assert total.item() == pytest.approx(sampled.mean().item(), abs=4 * error)


@pytest.mark.parametrize("layer", [nn.Dropout, GaussianDropout])
def test_noise_that_the_penalty_counts_is_not_in_the_loss(layer: type[nn.Module]) -> None:
    torch.manual_seed(0)
    data = fold("regression")
    x, y = data.x_train[:50], data.y_train[:50]
    net = nn.Sequential(nn.Linear(6, 8), layer(0.4), nn.ReLU(), Dropout(0.2), nn.Linear(8, 1))
    alone = Explicit(False, net, Loss("regression"))(x, y)
    assert alone[0].item() == _loss(net.eval(), x, y, "regression").item()
    assert alone[1].item() == Explicit(False, net.train(), Loss("regression"))(x, y)[1].item()


def _loss(net: nn.Module, x: Tensor, y: Tensor, task: str) -> Tensor:
    with torch.no_grad():
        return parse("none").recipe(Recipe(lr=1.0)).objective(net, Loss(task))(x, y)[0]


def test_ridge_is_solved_for() -> None:
    run = trained("dropout-ridge(p=0.3)", "regression")
    data = fold("regression")
    x, y = data.x_train.double().numpy(), data.y_train.double().numpy()
    residual = DropoutRidge(0.3).fit(x, y).predict(x) - y
    assert run.test is not None
    assert run.test.loss == pytest.approx(float((residual**2).mean()), rel=1e-4)
    assert (run.steps, len(run.curve.step)) == (1, 1)


@pytest.mark.parametrize(
    ("method", "task", "reason"),
    [
        ("dropout-ridge", "classification", "its closed form is for a regression of one"),
        ("dropout-ridge+l1", "regression", "cannot be combined with other methods"),
        ("fast-dropout+r-drop", "classification", "cannot be applied together"),
        ("fast-dropout(p=0,input=0)", "classification", "has no dropout that affects"),
        ("fast-dropout+standout", "classification", r"Standout\) draws in a way"),
        ("explicit-dropout+alpha-dropout", "classification", "not dropout of single"),
        ("drop-connect+explicit-dropout", "classification", r"fit .* \(DropConnect\) is not"),
        ("explicit-dropout+targeted-dropout", "regression", r"\(TargetedDropout\) is not"),
        ("concrete-dropout+explicit-dropout", "regression", r"\(ConcreteDropout\) is not"),
    ],
)
def test_what_does_not_apply_is_refused(method: str, task: str, reason: str) -> None:
    x, y = rows(task, 60)
    with pytest.raises(StudyError, match=reason):
        compare(x, y, methods=[method], seeds=2, epochs=1, hidden=(8,))


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("fast-dropout", "whose statistics come from"),
        ("explicit-dropout", "which mixes rows, and the penalty needs every row by itself"),
    ],
)
def test_batch_normalization_is_refused_where_no_batch_is_passed(method: str, reason: str) -> None:
    x, y = rows("classification", 60)

    def normed(inputs: tuple[int, ...], outputs: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(inputs[0], 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, outputs)
        )

    with pytest.raises(StudyError, match=f"is a batch normalization, {reason}"):
        compare(x, y, model=normed, methods=[method], seeds=2, epochs=1)


@pytest.mark.parametrize("method", ["fast-dropout", "explicit-dropout"])
def test_thinning_is_refused_where_no_mask_is_drawn(method: str) -> None:
    x, y = rows("classification", 60)
    with pytest.raises(StudyError, match="is thinned by masks, and this method draws none"):
        compare(x, y, methods=f"none,thinned-dropout+{method}", hidden=(8, 8), epochs=1, jobs=1)
