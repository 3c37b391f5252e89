"""Noise layers are methods of a study by existing."""

import numpy as np
import pytest
import torch
from torch import nn

from dropkit import noise
from dropkit.noise import Dropout2d, RatedNoise
from dropkit.study import StudyError, compare
from dropkit.study.methods._units import variants
from dropkit.study.methods.catalogue import METHODS
from dropkit.study.methods.parsing import parse
from dropkit.study.methods.recipe import Recipe
from dropkit.study.training.insertion import regularize
from dropkit.study.training.models import cnn

BASES = {"RatedNoise", "MultiplicativeNoise"}
ELSEWHERE = {"DropPath", "WordDropout", "Zoneout", "LockedDropout", "Dropout1d"}


def layers() -> set[str]:
    made = {name: getattr(noise, name) for name in noise.__all__}
    classes = {name: layer for name, layer in made.items() if isinstance(layer, type)}
    return {name for name, layer in classes.items() if issubclass(layer, RatedNoise)} - BASES


def test_every_layer_that_can_stand_behind_any_other_is_a_method() -> None:
    wanted = layers() - ELSEWHERE
    assert len(wanted) >= 7
    found = {name.replace("-", "") for name in METHODS}
    assert {name.lower() for name in wanted} <= found
    assert not {name.lower() for name in ELSEWHERE | BASES} & found


def test_a_new_layer_is_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    class SaltAndPepper2d(Dropout2d):
        """Salt and pepper.

        Reference: Doe et al. (2001).
        """

    monkeypatch.setattr(noise, "SaltAndPepper2d", SaltAndPepper2d, raising=False)
    monkeypatch.setattr(noise, "__all__", ["SaltAndPepper2d"])
    (method,) = variants()
    assert method.name == "salt-and-pepper2d"
    assert (method.summary, method.source) == ("Salt and pepper.", "Doe et al. 2001")
    recipe = method.apply(Recipe(lr=0.1), p=0.3, input=0.0)
    (made,) = (make() for make in recipe.hidden)
    assert isinstance(made, SaltAndPepper2d)
    assert made.p == 0.3
    assert not recipe.inputs


def test_the_layer_stands_where_the_network_marks_it() -> None:
    recipe = parse("drop-block2d(p=0.2)").recipe(Recipe(lr=0.05))
    network = regularize(cnn((1, 8, 8), 10), recipe)
    assert isinstance(network, nn.Sequential)
    assert isinstance(network[4], noise.DropBlock2d)
    assert network[4].p == 0.2


@pytest.mark.parametrize("name", ["alpha-dropout", "feature-alpha-dropout"])
def test_trains_on_rows(name: str) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    labels = (rows[:, 0] > 0).astype(int)
    results = compare(
        rows, labels, methods=[name], seeds=2, epochs=1, hidden=(8,), jobs=1, batch_size=16
    )
    assert all(run.status == "finished" for run in results.runs)


def test_a_layer_that_does_not_fit_the_rows_is_refused_by_name() -> None:
    rows, labels = np.zeros((60, 5), np.float32), np.arange(60) % 2
    with pytest.raises(StudyError, match=r"dropout2d does not fit .* \(N, C, H, W\)"):
        compare(rows, labels, methods=["none", "dropout2d"], seeds=2, epochs=1, hidden=(8,))


def wrapped(method: str, network: nn.Module) -> nn.Module:
    return regularize(network, parse(method).recipe(Recipe(lr=0.05)))


def test_wrappers_hold_every_layer_once_and_keep_their_noise() -> None:
    shared = nn.Linear(4, 4)
    network = wrapped("drop-connect(p=0.3)", nn.Sequential(shared, nn.ReLU(), shared))
    assert isinstance(network, nn.Sequential)
    assert network[0] is network[2]
    assert isinstance(network[0], noise.DropConnect)
    assert network[0].layer is shared
    assert network[0].drop.p == 0.3


def test_a_model_that_is_a_layer_is_wrapped_itself() -> None:
    network = wrapped("targeted-dropout(gamma=0.25)", nn.Linear(4, 2))
    assert isinstance(network, noise.TargetedDropout)
    assert network.gamma == 0.25


def test_weights_that_attention_reads_are_not_wrapped() -> None:
    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    network = wrapped("concrete-dropout", block)
    assert isinstance(network.linear1, noise.ConcreteDropout)
    assert isinstance(network.self_attn.out_proj, nn.Linear)
    assert network(torch.randn(2, 3, 8)).shape == (2, 3, 8)


def test_a_network_without_the_modules_is_refused() -> None:
    with pytest.raises(StudyError, match="must hold a module to wrap, of ReLU"):
        wrapped("standout", nn.Sequential(nn.Linear(4, 4), nn.PReLU()))


WRAPPING = ["drop-connect", "targeted-dropout", "concrete-dropout", "standout", "r-drop"]


def test_wrapping_methods_change_the_training() -> None:
    rows = np.random.default_rng(0).normal(size=(120, 5)).astype(np.float32)
    labels = (rows[:, 0] * rows[:, 1] > 0).astype(int)
    results = compare(
        rows, labels, methods=["none", *WRAPPING], seeds=2, epochs=2, hidden=(8,), jobs=1
    )
    losses = {run.method: run.test.loss for run in results.runs if run.seed == 0 and run.test}
    assert len(losses) == len(WRAPPING) + 1
    assert len(set(losses.values())) == len(losses)


def test_a_learned_rate_moves() -> None:
    """The divergence reaches the loss: at many rows per weight it lifts the entropy of the rate."""
    network = wrapped("concrete-dropout(length_scale=0.000001)", nn.Linear(4, 2))
    assert isinstance(network, noise.ConcreteDropout)
    (penalty,) = parse("concrete-dropout").recipe(Recipe(lr=0.05)).penalties
    assert torch.equal(penalty(network, 10), network.kl() / 10)
    penalty(network, 10).backward()
    assert network.drop.logit.grad is not None
    assert network.drop.logit.grad.item() < 0  # a step raises p from 0.1 towards 1/2


@pytest.mark.parametrize("both", ["concrete-dropout+l1", "l1+concrete-dropout"])
def test_penalties_add_up(both: str) -> None:
    rows = np.random.default_rng(0).normal(size=(120, 5)).astype(np.float32)
    labels = (rows[:, 0] * rows[:, 1] > 0).astype(int)
    methods = ["concrete-dropout", "l1(coefficient=0.1)", both.replace("l1", "l1(coefficient=0.1)")]
    results = compare(rows, labels, methods=methods, seeds=2, epochs=2, hidden=(8,), jobs=1)
    losses = {run.method: run.test.loss for run in results.runs if run.seed == 0 and run.test}
    assert len(set(losses.values())) == 3
    network = wrapped(both, nn.Linear(4, 2))
    assert isinstance(network, noise.ConcreteDropout)
    penalties = parse(both).recipe(Recipe(lr=0.05)).penalties
    expected = network.kl() / 10 + 1e-5 * network.layer.weight.abs().sum()
    assert torch.allclose(torch.stack([cost(network, 10) for cost in penalties]).sum(), expected)


def test_r_drop_needs_classes() -> None:
    rows = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    with pytest.raises(
        StudyError, match=r"r-drop does not fit .* it compares the probabilities of"
    ):
        compare(rows, rows[:, 0], methods=["none", "r-drop"], seeds=2, epochs=1, hidden=(8,))


@pytest.mark.parametrize("method", ["drop-connect", "concrete-dropout", "targeted-dropout"])
def test_transformers_call_what_is_wrapped_in_evaluation_too(method: str) -> None:
    """Their fused path would read the weights of the layers that it knew."""
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).eval()
    x = torch.randn(2, 3, 8)
    with torch.no_grad():
        expected = block(x)
        found = wrapped(method, block).eval()(x)
    assert torch.allclose(found, expected, atol=1e-5)


def test_transformers_call_a_standout_in_evaluation_too() -> None:
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(8, 2, 16, 0.0, nn.ReLU(), batch_first=True).eval()
    x = torch.randn(2, 3, 8)
    network = wrapped("standout", block).eval()
    with torch.no_grad():
        without_gradient = network(x)
    assert torch.allclose(without_gradient, network(x), atol=1e-5)


@pytest.mark.parametrize("both", ["concrete-dropout+drop-connect", "drop-connect+targeted-dropout"])
def test_two_methods_that_wrap_are_refused(both: str) -> None:
    rows, labels = np.zeros((60, 5), np.float32), np.arange(60) % 2
    with pytest.raises(StudyError, match="two methods that wrap"):
        compare(rows, labels, methods=["none", both], seeds=2, epochs=1, hidden=(8,))


def test_a_network_that_wraps_already_is_refused() -> None:
    network = nn.Sequential(noise.DropConnect(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(StudyError, match="0 is a DropConnect already"):
        wrapped("concrete-dropout", network)


def test_a_parametrized_layer_is_refused() -> None:
    network = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)))
    with pytest.raises(StudyError, match=r"0 cannot be wrapped: .* remove parametrizations"):
        wrapped("concrete-dropout", network)
