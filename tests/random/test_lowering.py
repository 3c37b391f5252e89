"""The product as Inductor's own code: eager bits, keys alone are kept, few machine instructions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.func import vmap

from dropkit.functional import dropout
from dropkit.noise import Dropout, GaussianDropout
from dropkit.random import _lowering

TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _lowered_on_the_cpu(monkeypatch):
    """On a CPU the operator is opaque, because fused C++ is slow; its bits are those of CUDA."""
    monkeypatch.setattr(_lowering, "devices", {"cpu", "cuda"})
    torch._dynamo.reset()
    counters.clear()
    with torch._inductor.config.patch(force_disable_caches=True):
        yield
    torch._dynamo.reset()


def outcome(function, x, *rest):
    torch.manual_seed(1)
    y = function(x, *rest)
    return y, torch.autograd.grad(y.sum(), x)[0]


def assert_same(eager, x, *rest, **options):
    fast = torch.compile(eager, fullgraph=True, **options)
    (y, dx), (z, dz) = outcome(eager, x, *rest), outcome(fast, x, *rest)
    assert torch.equal(y == 0, z == 0)
    torch.testing.assert_close(z, y)
    torch.testing.assert_close(dz, dx)


@pytest.fixture
def written(monkeypatch):
    """How often the product was written by Inductor itself."""
    calls, write = [], _lowering._pointwise
    monkeypatch.setattr(_lowering, "_pointwise", lambda *a: calls.append(1) or write(*a))
    return calls


@pytest.mark.soak
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_fused_masks_are_the_eager_ones(written, dtype):
    x = torch.randn(37, 53).to(dtype).requires_grad_()
    assert_same(lambda x: 2 * dropout(torch.relu(x), 0.3), x)
    assert len(written) == 2  # forward and backward


@pytest.mark.soak
@pytest.mark.parametrize("shared", [(0,), (-1,), (0, 2)])
def test_fused_masks_with_shared_dimensions(written, shared):
    x = torch.randn(6, 5, 7, requires_grad=True)
    assert_same(lambda x: 2 * dropout(x, 0.3, shared_dims=shared, stream=2**64 - 1), x)
    assert written


@pytest.mark.soak
def test_fused_masks_of_one_seed_for_each_sample(written):
    x, seeds = torch.randn(4, 64, requires_grad=True), torch.arange(4)
    assert_same(lambda x, s: 2 * vmap(lambda row, s: dropout(row, seed=s))(x, s), x, seeds)
    assert_same(lambda x: 2 * vmap(dropout, randomness="different")(x), x)
    assert written


@pytest.mark.soak
def test_fused_masks_follow_the_shape_and_not_the_strides(written):
    x = torch.randn(40, 30).t().requires_grad_()
    assert_same(lambda x: 2 * dropout(x, 0.3), x)
    assert written


@pytest.mark.soak
def test_one_program_for_every_rate_seed_and_shape(written):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), Dropout(0.5), nn.Linear(16, 8), Dropout(0.2))
    fast = torch.compile(net, fullgraph=True, dynamic=True)
    for rows in (3, 5, 64, 100, 17):
        x = torch.randn(rows, 8, requires_grad=True)
        for p in (0.5, 0.1, 0.0, 1.0):
            net[2].p = p
            for a, b in zip(outcome(net, x), outcome(fast, x), strict=True):
                torch.testing.assert_close(a, b)
    assert counters["stats"]["unique_graphs"] == 1
    assert len(written) == 4


@pytest.mark.soak
def test_draws_come_in_the_order_of_eager_code():
    net = nn.Sequential(*(Dropout(p) for p in (0.1, 0.2, 0.3)), GaussianDropout(0.1), Dropout(0.4))
    assert_same(net, torch.ones(5, 64, requires_grad=True))


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.soak)])
def test_only_the_key_is_kept(backend):
    kept = []

    def note(saved):
        kept.append(saved)
        return saved

    fast = torch.compile(lambda x: 2 * dropout(x, 0.5), fullgraph=True, backend=backend)
    x = torch.randn(64, 64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        fast(x)
    assert [(saved.dtype, saved.shape) for saved in kept] == [(torch.int64, (2,))]


@pytest.mark.soak
@pytest.mark.parametrize("error", [ImportError, AttributeError, TypeError])
def test_with_another_interface_the_operator_stays_opaque(monkeypatch, error):
    def broken(*_):
        raise error("not as it was")

    monkeypatch.setattr(_lowering, "_pointwise", broken)
    assert_same(lambda x: 2 * dropout(x, 0.3), torch.randn(37, 53, requires_grad=True))


@pytest.mark.parametrize("error", [ImportError, AttributeError, TypeError])
def test_an_unknown_interface_of_inductor_is_not_used(monkeypatch, error):
    from torch._inductor import lowering

    def broken(*_, **__):
        raise error("not as it was")

    monkeypatch.setattr(_lowering, "_registered", set())
    monkeypatch.setattr(lowering, "register_lowering", broken)
    _lowering.register_lowering()


FUSED = """
import torch
from helpers import cuda_source

cuda_source.pretend()
import dropkit.noise
from dropkit.random.philox import DEFINITION

multiply, draw_key = torch.ops.dropkit.multiply, torch.ops.dropkit.draw_key
f32, bf16, f64, i64 = torch.float32, torch.bfloat16, torch.float64, torch.int64

def fused(x, key):
    return multiply(torch.relu(x), key, "bernoulli", 5, [], DEFINITION) + 1

def kernel(shape, dtype):
    source = cuda_source.program(fused, (shape, dtype, "cuda"), ((2,), i64, "cuda"))
    (found,) = cuda_source.kernels(source)  # one kernel
    return found
"""

INTERPRETED = (
    FUSED
    + """
from dropkit.functional import dropout
from dropkit.random._product import noise

for dtype in (f32, f64):
    for shape in ((3000,), (37, 53)):
        for p in (0.3, 0.0, 1.0):
            x, key = torch.randn(shape).to(dtype), torch.tensor([-7, noise(p, "bernoulli").packed])
            found = cuda_source.interpret(*kernel(shape, dtype), x, key)
            expected = dropout(torch.relu(x), p, seed=2**64 - 7, stream=5) + 1
            assert torch.equal(found, expected), (dtype, shape, p)
print("equal")
"""
)

COUNTED = (
    FUSED
    + """
elements = 1024
for dtype, bound in ((f32, 6), (bf16, 4)):
    counts = cuda_source.instructions(*kernel((4096, 1024), dtype), {"XBLOCK": elements})
    wide = cuda_source.wide_multiplications(counts) * cuda_source.THREADS / elements
    assert 1 < wide <= bound, (dtype, wide)

import triton.language as tl
from dropkit.random import _triton

types = {"x": "*fp32", "y": "*fp32", "seeds": "*i64", "table": "*fp32", "seed": "i64"}
types |= {"factor": "fp64", "count": "i64", "blocks": "i64", "stream": "i64", "threshold": "i32"}
for source in (0, 1, 2):
    given = dict(source=source, gaussian=False, real=tl.float32, block=elements, aligned=True)
    counts = cuda_source.instructions(_triton._multiply, types, given)
    wide = cuda_source.wide_multiplications(counts) * cuda_source.THREADS / elements
    assert 1 < wide <= 12, (source, wide)  # in two branches, of which a program takes one
print("few")
"""
)

PARTITIONED = (
    FUSED
    + """
import torch._inductor.config as config
config.graph_partition = config.triton.cudagraphs = True

def net(x, w, *rates):
    for p in rates:
        key = draw_key(p, torch.empty(0), x.device, [], "bernoulli")
        x = multiply(torch.relu(x @ w), key, "bernoulli", 0, [], DEFINITION)
    return x

matrix, rate = ((64, 64), f32, "cuda"), ((), f64, "cpu")
source = cuda_source.program(net, matrix, matrix, rate, rate, rate)
assert "def partition_0" in source and "def partition_1" not in source
step = source[source.index("def call(self, args)"):]
step = step[: step.index("runner = Runner")]
names = step[: step.index("= args")].split()[-3:]
draws = [step.index(f"draw_key.default({name.strip(',')},") for name in names]
assert draws == sorted(draws) and draws[-1] < step.index("self.partitions[0](")
print("ahead")
"""
)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("program", "printed", "interpret"),
    [(INTERPRETED, "equal", "1"), (COUNTED, "few", "0"), (PARTITIONED, "ahead", "0")],
    ids=["bits", "instructions", "draws ahead of one CUDA graph"],
)
def test_what_inductor_writes_for_cuda(program, printed, interpret, monkeypatch):
    pytest.importorskip("triton", reason="triton is not installed")
    monkeypatch.setenv("TRITON_INTERPRET", interpret)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *sys.path]))
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert finished.stdout.strip() == printed, finished.stderr
