"""Recorded programs draw as eager code does, whoever records them."""

import io

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from dropkit._draws import Draws
from dropkit.functional import dropout
from dropkit.noise import (
    DropBlock2d,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    LayerDrop,
    PatchDropout,
    Standout,
    StochasticDepth,
    WordDropout,
)

ROWS = torch.arange(1.0, 33.0).view(4, 8)
LAYERS = {
    "dropout": (lambda: Dropout(0.5), ROWS),
    "shared": (lambda: Dropout(0.5, shared_dims=(0,)), ROWS),
    "gaussian dropout": (lambda: GaussianDropout(0.5), ROWS),
    "gaussian noise": (lambda: GaussianNoise(0.5), ROWS),
    "blocks": (lambda: DropBlock2d(0.3, 3), ROWS.view(1, 1, 4, 8)),
    "standout": (lambda: Standout(nn.Linear(8, 8)), ROWS),
    "words": (lambda: WordDropout(0.5, unknown=0), ROWS.long()),
    "stochastic depth": (lambda: StochasticDepth(nn.Linear(8, 8), 0.5), ROWS),
    "layer drop": (lambda: LayerDrop([nn.Linear(8, 8) for _ in range(9)], 0.5), ROWS),
    "patches": (lambda: PatchDropout(0.5), torch.arange(40.0).view(2, 10, 2)),
}


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_a_traced_program_draws_as_eager_code_does(name):
    make, x = LAYERS[name]
    layer = make().train()
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(layer, x, check_trace=False), file)
    file.seek(0)
    traced = torch.jit.load(file)
    seen = []
    for seed in range(8):
        torch.manual_seed(seed)
        expected = layer(x)
        torch.manual_seed(seed)
        torch.testing.assert_close(traced(x), expected)
        seen.append(expected)
    assert any(not torch.equal(seen[0], other) for other in seen)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_traced_program_has_the_gradient_of_its_mask():
    traced = torch.jit.trace(Dropout(0.5), ROWS, check_trace=False)
    x = torch.ones(4, 8, requires_grad=True)
    y = traced(x)
    y.sum().backward()
    assert torch.equal(x.grad, y)


def test_a_graph_recorded_from_operators_draws_anew():
    graph = make_fx(lambda x: dropout(x, 0.5))(ROWS)
    torch.manual_seed(0)
    expected = dropout(ROWS, 0.5)
    torch.manual_seed(0)
    assert torch.equal(graph(ROWS), expected)


def test_a_dispatch_mode_sees_the_operator():
    class Seen(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.names = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.names.append(str(func))
            return func(*args, **(kwargs or {}))

    with Seen() as seen:
        dropout(ROWS, 0.5, seed=1)
    assert "dropkit.multiply.default" in seen.names


def test_a_rate_set_in_inference_mode_serves_compiled_training():
    layer = Dropout(0.5)
    with torch.inference_mode():
        layer.p = 0.25
        made = Dropout(0.25)
    for dropping in (layer, made):
        torch._dynamo.reset()
        fast = torch.compile(dropping, fullgraph=True, backend="aot_eager")
        x = torch.ones(64, requires_grad=True)
        y = fast(x)
        y.sum().backward()
        assert torch.equal(x.grad, y)
    torch._dynamo.reset()


def test_a_rate_that_needs_a_gradient_is_refused():
    p = torch.tensor(0.3, requires_grad=True)
    for rate in (p, p * 0.5):
        with pytest.raises(ValueError, match="use ConcreteDropout to learn"):
            dropout(ROWS, rate)
    torch.manual_seed(0)
    expected = dropout(ROWS, 0.3)
    torch.manual_seed(0)
    assert torch.equal(dropout(ROWS, p.detach()), expected)
    with torch.no_grad():
        assert dropout(ROWS, p).shape == ROWS.shape


@pytest.mark.parametrize(
    ("layer", "x", "sizes"),
    [
        (Dropout(0.5), ROWS, [0, 32]),
        (Dropout(0.5, shared_dims=(0,)), ROWS, [0, 8]),
        (DropBlock2d(0.3, 3), ROWS.view(1, 1, 4, 8), [0, 60, 60]),
        (PatchDropout(0.5), torch.ones(2, 10, 2), [0, 18, 18]),
    ],
)
def test_noise_is_counted_and_its_seed_is_not(layer, x, sizes):
    with Draws() as draws:
        layer.train()(x)
    assert draws.sizes == sizes
