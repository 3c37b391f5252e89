"""Seeds come from torch's default generator, a given one, or the caller."""

import os
import signal
import time

import pytest
import torch

from dropkit.functional import dropout
from dropkit.random import draw_seed, keep_mask, ranks, set_data_parallel
from helpers.waiting import HANGS


def zeros(x):
    return (x == 0).tolist()


def test_manual_seed_repeats_a_program():
    def program():
        torch.manual_seed(4)
        return [dropout(torch.ones(64)) for _ in range(3)]

    first, second = program(), program()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[1])


def test_one_draw_a_call_at_every_rate():
    def after(p):
        torch.manual_seed(4)
        dropout(torch.ones(8), p)
        return torch.rand(())

    assert after(0.0) == after(0.5) == after(1.0)


def test_generator_is_used_instead_of_the_default():
    state = torch.get_rng_state()
    generator = torch.Generator().manual_seed(5)
    first = dropout(torch.ones(64), generator=generator)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, dropout(torch.ones(64), generator=generator))
    generator.manual_seed(5)
    assert torch.equal(first, dropout(torch.ones(64), generator=generator))


def test_explicit_seed_touches_no_generator_and_shows_its_mask():
    state = torch.get_rng_state()
    y = dropout(torch.ones(5, 7), 0.4, seed=11, stream=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(y != 0, keep_mask((5, 7), 0.4, seed=11, stream=2))


def test_drawn_seed_can_be_passed_on():
    seed = draw_seed()
    assert seed.dtype == torch.int64
    assert torch.equal(dropout(torch.ones(64), seed=seed), dropout(torch.ones(64), seed=int(seed)))


def test_one_seed_for_each_sample():
    seeds = torch.tensor([3, 4, 5])
    y = dropout(torch.ones(3, 50), seed=seeds)
    for row, seed in zip(y, seeds, strict=True):
        assert torch.equal(row, dropout(torch.ones(50), seed=seed))


def test_seed_and_generator_exclude_each_other():
    with pytest.raises(ValueError, match="a seed or a generator, not both"):
        dropout(torch.ones(2), seed=1, generator=torch.Generator())


def test_seed_tensor_must_fit():
    with pytest.raises(ValueError, match="leading dimensions"):
        dropout(torch.ones(3, 4), seed=torch.tensor([1, 2]))


def test_ranks_of_a_group_draw_different_masks_but_share_explicit_ones(monkeypatch):
    def masks(rank):
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_rank", lambda group=None: rank)
        monkeypatch.setattr(ranks, "_chosen", None)
        set_data_parallel(object())
        torch.manual_seed(0)
        return dropout(torch.ones(64)), dropout(torch.ones(64), seed=3)

    (drawn0, given0), (drawn1, given1) = masks(0), masks(1)
    assert not torch.equal(drawn0, drawn1)
    assert torch.equal(given0, given1)
    monkeypatch.undo()
    torch.manual_seed(0)
    assert torch.equal(dropout(torch.ones(64)), drawn0)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_rank_of_a_real_process_group(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1
    )
    try:
        torch.manual_seed(0)
        inside = dropout(torch.ones(64))
    finally:
        torch.distributed.destroy_process_group()
    torch.manual_seed(0)
    assert torch.equal(dropout(torch.ones(64)), inside)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_draws_the_same_large_mask():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    x = torch.ones(1 << 20)
    expected = dropout(x, seed=1)  # the parent's threads are up
    child = os.fork()
    if child == 0:
        same = dropout(x, seed=1).numpy().tobytes() == expected.numpy().tobytes()
        os._exit(0 if same else 1)
    torch.set_num_threads(threads)
    deadline = time.monotonic() + HANGS
    while (finished := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    if finished == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert finished == (child, 0)
