"""Seeds for CUDA tensors that are computed on the host are those that torch would draw."""

import pytest
import torch

from dropkit.functional import dropout
from dropkit.random import _cuda_seed
from dropkit.random.philox import philox4x32, philox_words
from helpers.gpu import needs_gpu

DEVICE = torch.device("cuda", 0)


class Generator:
    """A CUDA device's generator, which draws as it does."""

    def __init__(self, seed):
        self.seed, self.offset = seed, 0

    def initial_seed(self):
        return self.seed

    def get_offset(self):
        return self.offset

    def set_offset(self, offset):
        self.offset = offset

    def draw(self):
        counter = [self.offset // 4 & 0xFFFFFFFF, self.offset // 4 >> 32, 0, 0]
        high, low, *_ = philox4x32(counter, [self.seed & 0xFFFFFFFF, self.seed >> 32]).tolist()
        self.offset += 4
        return torch.tensor((high << 32 | low) % (2**63 - 1))


@pytest.fixture
def generator(monkeypatch):
    generator = Generator(2**63 + 12345)
    monkeypatch.setattr(torch.cuda, "default_generators", [generator])
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(torch, "randint", lambda *_, **__: generator.draw())
    _cuda_seed._agrees.cache_clear()
    yield generator
    _cuda_seed._agrees.cache_clear()


def test_words_in_python_are_those_of_the_reference():
    for seed in (0, 7, 2**63 + 5, 2**64 - 1):
        for counter in (0, 1, 2**32 - 1, 2**40 + 3):
            expected = philox4x32(
                [counter & 0xFFFFFFFF, counter >> 32, 0, 0], [seed & 0xFFFFFFFF, seed >> 32]
            )
            assert list(philox_words(seed, counter)) == expected.tolist()


def test_the_host_draws_what_the_device_would(generator):
    seen = [_cuda_seed.draw_on_host(DEVICE) for _ in range(5)]
    assert generator.offset == 20
    generator.offset = 0
    assert seen == [int(generator.draw()) for _ in range(5)]


def test_where_torch_draws_other_numbers_it_is_left_to_the_device(generator, monkeypatch):
    monkeypatch.setattr(torch, "randint", lambda *_, **__: generator.draw() + 1)
    assert _cuda_seed.draw_on_host(DEVICE) is None
    assert generator.offset == 0


def test_a_program_that_forbids_to_wait_draws_on_the_device(generator, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("called a synchronizing CUDA operation")

    monkeypatch.setattr(torch, "randint", refuse)
    assert _cuda_seed.draw_on_host(DEVICE) is None


def test_a_recorded_graph_draws_on_the_device(generator, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert _cuda_seed.draw_on_host(DEVICE) is None


@needs_gpu
def test_on_a_gpu_the_host_draws_what_the_device_would():
    torch.cuda.manual_seed(3)
    seen = [_cuda_seed.draw_on_host(torch.device("cuda", 0)) for _ in range(5)]
    torch.cuda.manual_seed(3)
    assert seen == [int(torch.randint(2**63 - 1, (), device="cuda")) for _ in range(5)]
    x = torch.ones(1000, device="cuda")
    torch.cuda.manual_seed(3)
    assert torch.equal(dropout(x), dropout(x, seed=seen[0]))
