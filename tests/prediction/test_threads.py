"""Predictions in one thread are not felt in another, and blocks of sampling may overlap."""

import math
import threading
from contextlib import ExitStack

import pytest
import torch
from torch import nn

from dropkit import doctor, scaling
from dropkit._tracer import LocalTracer
from dropkit._twin import share
from dropkit.noise import Dropout
from dropkit.prediction import predict, sampling
from dropkit.random import _product
from dropkit.surgery import insert

X = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))


def network(layer=nn.Dropout):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), layer(0.5), nn.Linear(64, 1)).eval()


def while_running(work, others, passes=3):
    """Run ``work`` while others go on in their threads; what they raise, or return as False."""
    stop, faults, counts = threading.Event(), [], [0] * len(others)

    def go_on(place, other):
        while not stop.is_set() or not counts[place]:
            try:
                assert other(), "another result than alone"
            except Exception as error:
                faults.append(f"{type(error).__name__}: {error}")
            counts[place] += 1

    threads = [threading.Thread(target=go_on, args=pair) for pair in enumerate(others)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(passes):
            work()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return faults


@pytest.mark.parametrize(
    "work",
    [
        lambda model: predict(model, X, 20),
        lambda model: insert(model, Dropout(0.1)),
        lambda model: scaling.to_classic(model),
        lambda model: doctor(model, X),
    ],
)
def test_forward_passes_elsewhere_go_on(work):
    model, plain = network(), network()
    expected, own = plain(X), model(X)
    faults = while_running(
        lambda: work(model),
        [
            lambda: torch.equal(plain(X), expected),
            lambda: torch.equal(model(X), own),  # the very model, in evaluation
            lambda: math.sqrt(4) == 2,
        ],
        passes=15,
    )
    assert not faults


@pytest.mark.parametrize("layer", [nn.Dropout, Dropout])
def test_predictions_with_a_seed_are_the_same_in_every_thread(layer):
    model = network(layer)
    alone = [predict(model, X, 20, seed=seed).mean for seed in range(4)]
    state = torch.get_rng_state()
    found = [[] for _ in alone]

    def serve(seed):
        for _ in range(5):
            found[seed].append(predict(model, X, 20, seed=seed).mean)

    threads = [threading.Thread(target=serve, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(means) == 5 for means in found)
    for means, expected in zip(found, alone, strict=True):
        assert all(torch.equal(mean, expected) for mean in means)
    assert torch.equal(torch.get_rng_state(), state)
    assert _product.listeners.product is None


def test_blocks_of_sampling_that_overlap_end_with_the_last():
    model = network()
    first, second = ExitStack(), ExitStack()
    first.enter_context(sampling(model))
    second.enter_context(sampling(model))
    first.close()
    assert model[2].training
    assert not torch.equal(model(X), model(X))
    second.close()
    assert not model[2].training
    assert torch.equal(model(X), model(X))


def test_a_copy_with_the_hook_of_a_block_that_has_ended_leaves_the_model_off():
    model = network()
    with sampling(model):
        copy = share(model)[model]
    copy(X)
    assert not model[2].training


def test_a_prediction_inside_a_block_leaves_it_on():
    model = network()
    with sampling(model):
        predict(model, X, 5)
        assert model[2].training
    assert not model[2].training


class Bound(nn.Module):
    """Refers to its own modules by a list, a method and a hook."""

    def __init__(self):
        super().__init__()
        self.linear, self.drop = nn.Linear(8, 8), nn.Dropout(0.5)
        self.steps = {"all": [self.linear, (self.drop,)]}
        self.last = self.drop.forward

    def forward(self, x):
        linear, (drop,) = self.steps["all"]
        return self.last(drop(linear(x)))


def test_a_copy_calls_its_own_modules_and_shares_the_weights():
    model = Bound().eval()
    copy = share(model)[model]
    copy.train()
    assert not torch.equal(copy(X), copy(X))
    assert not model.training
    assert torch.equal(model(X), model(X))
    assert copy.linear.weight is model.linear.weight
    assert predict(model, X, 10).variance.any()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    "change",
    [
        lambda net: torch.compile(net, backend="eager"),
        lambda net: nn.Sequential(torch.jit.script(net[:3]), net[3]),
        lambda net: torch.jit.script(net),
    ],
)
def test_models_without_a_copy_are_switched_and_given_back(change):
    plain = predict(network(), X, 2000, seed=0).variance
    model = change(network())
    # A standard deviation of 2000 samples, next to normal, has a relative error of 1/√4000.
    found = predict(model, X, 2000, seed=1).variance
    assert ((found / plain).sqrt() - 1).abs().max() < 4.5 * (2 / 4000) ** 0.5
    assert torch.equal(model(X), model(X))
    with sampling(model):
        assert not torch.equal(model(X), model(X))
    assert torch.equal(model(X), model(X))


class Scores(nn.Module):
    """Attention as it is often written, with a root of a size and a constant made on the way."""

    def __init__(self):
        super().__init__()
        self.query, self.drop = nn.Linear(8, 8), nn.Dropout(0.5)

    def forward(self, x):
        scores = self.query(x) @ x.transpose(-2, -1) / math.sqrt(x.size(-1))
        return self.drop(scores * torch.tensor(2.0))


def test_functions_of_math_and_parameters_are_followed():
    model = Scores()
    graph = LocalTracer().trace(share(model)[model])
    assert [str(node.target) for node in graph.nodes if node.op == "call_module"] == [
        "query",
        "drop",
    ]
    assert any(node.target is math.sqrt for node in graph.nodes)
    assert math.sqrt(4) == 2.0
    assert not any(name.startswith("_tensor_constant") for name in vars(model))
