"""The CPU kernel gives the reference's bits, whatever the instruction set, threads and pieces."""

import subprocess
import sys

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from dropkit.random import backend, dispatch, reference
from dropkit.random.mask import scale

pytestmark = pytest.mark.skipif(backend() != "kernel", reason="the C extension is not built")

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
SETS = dispatch._kernel.instruction_sets() if backend() == "kernel" else []


@pytest.fixture(params=SETS)
def instruction_set(request):
    dispatch._kernel.use_instruction_set(request.param)
    yield request.param
    dispatch._kernel.use_instruction_set(SETS[0])


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


seeds = st.integers(-(2**63), 2**63 - 1)
streams = st.integers(-(2**63), 2**63 - 1)
thresholds = st.one_of(st.sampled_from([1, 32768, 65535]), st.integers(1, 65535))


def numbers(count: int, dtype: torch.dtype) -> torch.Tensor:
    """Every magnitude that the type has, infinities among them."""
    generator = torch.Generator().manual_seed(count)
    exponent = torch.rand(count, generator=generator, dtype=torch.float64) * 60 - 40
    x = torch.randn(count, generator=generator, dtype=torch.float64) * exponent.exp2()
    x[::17] = float("inf")
    return x.to(dtype)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 5000), thresholds, seeds, streams, st.integers(0, 2**60))
def test_masks(count, threshold, seed, stream, offset):
    arguments = (count, threshold, torch.tensor(seed), stream, offset)
    assert torch.equal(dispatch.mask(*arguments), reference.mask(*arguments))


@pytest.mark.parametrize("turn", [2**35, 2**36])
def test_masks_where_the_low_half_of_the_counter_turns_over(turn):
    arguments = (5000, 19661, torch.tensor(-3), -7, turn - 2049)
    assert torch.equal(dispatch.mask(*arguments), reference.mask(*arguments))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(0, 3000), thresholds, st.data())
def test_products(dtype, parts, count, threshold, data):
    key = torch.tensor(data.draw(st.lists(seeds, min_size=parts, max_size=parts)))
    stream = data.draw(streams)
    x = numbers(parts * count, dtype)
    p = threshold / 65536
    bernoulli = (x, threshold, scale(threshold), key, stream)
    assert torch.equal(dispatch.drop(*bernoulli), reference.drop(*bernoulli))
    gaussian = (x, (p / (1 - p)) ** 0.5, key, stream)
    assert torch.equal(
        dispatch.blur(*gaussian).nan_to_num(7.0), reference.blur(*gaussian).nan_to_num(7.0)
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_instruction_sets(instruction_set, dtype):
    x, key = numbers(10_007, dtype), torch.tensor(12345)
    drop = (x, 19661, scale(19661), key, 5)
    assert torch.equal(dispatch.drop(*drop), reference.drop(*drop))
    blur = (x[x.isfinite()], 0.7, key, 5)
    assert torch.equal(dispatch.blur(*blur), reference.blur(*blur))
    mask = (10_007, 19661, key, 5, 77)
    assert torch.equal(dispatch.mask(*mask), reference.mask(*mask))


def test_every_half_number_is_converted_as_torch_does(instruction_set):
    every = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16)
    for dtype in (torch.float16, torch.bfloat16):
        x = every.view(dtype)
        for factor in (scale(19661), 2.0**-9, 0.999):
            y = dispatch.drop(x, 1, factor, torch.tensor(3), 0)
            expected = reference.drop(x, 1, factor, torch.tensor(3), 0)
            assert torch.equal(y.isnan(), expected.isnan())
            assert torch.equal(y[~y.isnan()], expected[~y.isnan()])


def test_threads(threads):
    x, key = numbers(300_001, torch.float32), torch.tensor(8)
    arguments = (x, 6554, scale(6554), key, 0)
    assert torch.equal(dispatch.drop(*arguments), reference.drop(*arguments))


def test_threads_over_many_parts(threads):
    x, key = numbers(4 * 100_000, torch.bfloat16), torch.arange(4)
    arguments = (x, 6554, scale(6554), key, 0)
    assert torch.equal(dispatch.drop(*arguments), reference.drop(*arguments))


def test_unknown_instruction_set():
    with pytest.raises(ValueError, match="no mmx"):
        dispatch._kernel.use_instruction_set("mmx")


def test_without_the_extension_the_reference_is_used():
    program = (
        "import sys; sys.modules['dropkit.random._kernel'] = None\n"
        "import torch\n"
        "from dropkit.random import backend\n"
        "from dropkit.functional import dropout\n"
        "print(backend(), dropout(torch.ones(9), 0.5, seed=0).int().tolist())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "reference [2, 0, 2, 2, 2, 2, 2, 2, 2]"


def test_a_kernel_of_another_definition_is_left_alone():
    program = (
        "import sys, types\n"
        "sys.modules['dropkit.random._kernel'] = types.SimpleNamespace(DEFINITION=1)\n"
        "from dropkit.random import backend\n"
        "print(backend())"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == "reference"
    assert "another version of its source" in finished.stderr
