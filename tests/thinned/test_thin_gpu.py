"""A thinned net on a GPU: what it is there for, and what it refuses."""

import pytest
import torch
from torch import nn

from dropkit.noise import Dropout
from dropkit.thinned import _units, thin
from helpers.gpu import needs_gpu, not_waited_for


def net(hidden=512):
    return nn.Sequential(
        nn.Linear(100, hidden), nn.ReLU(), Dropout(0.5), nn.Linear(hidden, 10)
    ).cuda()


@pytest.fixture
def every_net_is_worth_it(monkeypatch):
    monkeypatch.setattr(_units, "_WORTH_ON_GPU", 0)


def kept(model, x):
    """How many units each pass keeps: what the last layer sees."""
    seen = []
    hook = model[2].register_forward_hook(lambda *given: seen.append(given[2].shape[1]))
    model(x)
    hook.remove()
    return seen[0]


@needs_gpu
def test_a_small_net_keeps_a_mask_for_each_row():
    thinned, plan = thin(net())
    assert "for batches of 156250 rows or more" in plan.thinned[0]
    assert kept(thinned, torch.randn(512, 100, device="cuda")) == 512


@needs_gpu
def test_half_precision_asks_for_more():
    _, plan = thin(net().bfloat16())
    assert "for batches of 1953125 rows or more" in plan.thinned[0]


@needs_gpu
@pytest.mark.usefixtures("every_net_is_worth_it")
def test_no_pass_waits_for_the_gpu():
    thinned, _ = thin(net())
    x = torch.randn(512, 100, device="cuda")
    assert kept(thinned, x) == 256
    thinned(x).sum().backward()
    with not_waited_for():
        thinned(x).sum().backward()


@needs_gpu
@pytest.mark.usefixtures("every_net_is_worth_it")
def test_a_cuda_graph_is_refused():
    thinned, _ = thin(net())
    x = torch.randn(512, 100, device="cuda")
    thinned(x)
    with (
        pytest.raises(RuntimeError, match="a thinned net cannot be recorded"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        thinned(x)


def test_tensor_cores_are_known_by_either_setting():
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        assert not _units._on_tensor_cores(torch.float32, convolves=False)
        matmul.fp32_precision = "tf32"
        assert _units._on_tensor_cores(torch.float32, convolves=False)
        assert not _units._on_tensor_cores(torch.float64, convolves=False)
        compiled = torch.compile(
            lambda x: x * _units._on_tensor_cores(x.dtype, False), fullgraph=True, backend="eager"
        )
        assert compiled(torch.ones(2)).sum() == 2
    finally:
        matmul.fp32_precision = before
    assert _units._on_tensor_cores(torch.bfloat16, convolves=False)
