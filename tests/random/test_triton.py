"""The CUDA kernel gives the reference's bits: in Triton's interpreter, and on a GPU."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from dropkit.functional import dropout, gaussian_dropout
from dropkit.noise import Dropout
from dropkit.random import backend
from helpers.gpu import needs_gpu, not_waited_for

INTERPRETED = """
import torch
from dropkit.random import _triton, reference
from dropkit.random._product import noise
from dropkit.random.mask import scale

torch.manual_seed(0)
for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
    for shape, parts in (((5,), 1), ((3, 700), 1), ((3, 700), 3), ((0,), 1), ((1000,), 1)):
        x = torch.randn(shape).to(dtype)
        x[..., :1] = float("inf")
        seeds = torch.randint(-(2**62), 2**62, (parts,))
        for stream in (0, 1, 2**40 + 7, -5) if shape == (5,) else (2**40 + 7,):
            # The interpreter cuts bfloat16 off where a GPU rounds: no rounding at p = 1/2.
            for t in (32768,) if dtype == torch.bfloat16 else (1, 19661, 65535):
                drop = (x, t, scale(t), seeds, stream)
                expected = reference.drop(*drop)
                assert torch.equal(_triton.drop(*drop), expected), drop
                packed = torch.full_like(seeds, noise(t / 65536, "bernoulli").packed)
                keys = torch.stack([seeds, packed], dim=-1)
                assert torch.equal(_triton.by_key(x, keys, False, stream), expected), drop
                if parts == 1:  # a number
                    one = (x, t, scale(t), int(seeds), stream)
                    assert torch.equal(_triton.drop(*one), expected), drop
            if dtype != torch.bfloat16:
                law = noise(0.3, "gaussian")
                blur = (x, law.factor, seeds, stream)
                expected = reference.blur(*blur)
                assert torch.equal(_triton.blur(*blur), expected), blur
                keys = torch.stack([seeds, torch.full_like(seeds, law.packed)], dim=-1)
                assert torch.equal(_triton.by_key(x, keys, True, stream), expected), blur
print("equal")
"""


def test_interpreted():
    pytest.importorskip("triton", reason="triton is not installed")
    finished = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert finished.stdout.strip() == "equal", finished.stderr


STARTED = """
import types
import torch
from dropkit.random import _triton

torch._C._cuda_getCurrentRawStream = lambda index: 100 + index
device, seen = torch.device("cuda", 1), []

class Kernel:
    function, packed_metadata = "function", "metadata"

    def __getitem__(self, grid):
        return lambda *arguments: seen.append((grid, arguments))

    def run(self, *arguments):
        seen.append(arguments)

_triton.start(Kernel(), 7, device, (1, 2))
del Kernel.run
_triton.start(Kernel(), 7, device, (1, 2))
started = 7, 1, 1, 101, "function", "metadata", None, None, None, 1, 2
assert seen == [started, ((7, 1, 1), (1, 2))], seen
print("started")
"""


def test_a_kernel_is_started_by_its_launcher_or_as_triton_documents():
    pytest.importorskip("triton", reason="triton is not installed")
    finished = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True)
    assert finished.stdout.strip() == "started", finished.stderr


@needs_gpu
def test_more_seeds_than_an_axis_of_the_grid_takes():
    seeds = torch.arange(70_000)
    x = torch.ones(70_000, 4)
    on_gpu = torch.func.vmap(lambda row, seed: dropout(row, 0.5, seed=seed))(x.cuda(), seeds.cuda())
    on_cpu = torch.func.vmap(lambda row, seed: dropout(row, 0.5, seed=seed))(x, seeds)
    assert torch.equal(on_gpu.cpu(), on_cpu)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_another_device_than_the_current_one():
    x = torch.randn(1000)
    on_gpu = dropout(x.to("cuda:1"), 0.5, seed=5)
    assert torch.equal(on_gpu.cpu(), dropout(x, 0.5, seed=5))


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("operation", [dropout, gaussian_dropout])
def test_gpu_and_cpu_draw_the_same(operation, dtype):
    assert backend("cuda") == "triton"
    x = torch.randn(1000, 1003).to(dtype)
    for p in (0.1, 0.5, 0.9):
        on_gpu = operation(x.cuda(), p, seed=5, stream=2).cpu()
        assert torch.equal(on_gpu, operation(x, p, seed=5, stream=2))


@needs_gpu
@pytest.mark.parametrize("seed", [None, 3])
def test_no_call_waits_for_the_gpu(seed):
    x = torch.randn(64, 64, device="cuda", requires_grad=True)
    dropout(x, 0.5, seed=seed).sum().backward()
    with not_waited_for():
        dropout(x, 0.5, seed=seed).sum().backward()


@needs_gpu
def test_every_replay_of_a_cuda_graph_draws_anew():
    x, graph = torch.ones(1000, 100, device="cuda"), torch.cuda.CUDAGraph()
    dropout(x, 0.5)  # compiles
    with torch.cuda.graph(graph):
        y = dropout(x, 0.5)
    torch.manual_seed(0)
    replayed = [(graph.replay(), y.clone())[1] for _ in range(3)]
    torch.manual_seed(0)
    assert all(torch.equal(one, dropout(x, 0.5)) for one in replayed)


@pytest.mark.soak
@needs_gpu
def test_compiled_into_cuda_graphs_the_rate_still_changes():
    layer = Dropout(0.5)
    fast = torch.compile(nn.Sequential(nn.Identity(), layer), mode="reduce-overhead")
    for p in (0.5, 0.5, 0.5, 0.9, 0.0):
        layer.p = p
        x = torch.ones(1000, 100, device="cuda", requires_grad=True)
        torch.compiler.cudagraph_mark_step_begin()
        y = fast(x)
        y.sum().backward()
        assert abs((y == 0).float().mean() - p) < 0.01
        assert torch.equal(x.grad, y)
