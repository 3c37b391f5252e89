"""The reference generator against published answers and a scalar implementation of its own."""

import pytest
import torch

from dropkit.random import keep_mask, philox, philox4x32, reference

KNOWN_ANSWERS = [  # Random123's kat_vectors for philox4x32 10
    ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def scalar_philox(counter: list[int], key: list[int]) -> list[int]:
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        left, right = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (
            (right >> 32) ^ c1 ^ k0,
            right & 0xFFFFFFFF,
            (left >> 32) ^ c3 ^ k1,
            left & 0xFFFFFFFF,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


def scalar_word(seed: int, stream: int, index: int) -> int:
    """The 16-bit word of one element, straight from the documented layout."""
    block, j = divmod(index, 8)
    halves = [seed & 0xFFFFFFFF, seed >> 32]
    counter = [block & 0xFFFFFFFF, block >> 32, stream & 0xFFFFFFFF, stream >> 32]
    word = scalar_philox(counter, halves)[j // 2]
    return word >> 16 if j % 2 else word & 0xFFFF


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(counter, key, answer):
    assert [f"{word:08x}" for word in philox4x32(counter, key).tolist()] == answer.split()


def test_many_counters_and_keys_at_once():
    generator = torch.Generator().manual_seed(0)
    counter = torch.randint(1 << 32, (5, 7, 4), generator=generator)
    key = torch.randint(1 << 32, (7, 2), generator=generator)
    words = philox4x32(counter, key)
    for i in range(5):
        for j in range(7):
            assert words[i, j].tolist() == scalar_philox(counter[i, j].tolist(), key[j].tolist())


def test_inputs_are_left_alone():
    counter, key = torch.tensor([1, 2, 3, 4]), torch.tensor([5, 6])
    philox4x32(counter, key)
    assert counter.tolist() == [1, 2, 3, 4]
    assert key.tolist() == [5, 6]


@pytest.mark.parametrize(("counter", "key"), [([0] * 3, [0] * 2), ([0] * 4, [0] * 3)])
def test_wrong_number_of_words(counter, key):
    with pytest.raises(ValueError, match="4 for the counter and 2 for the key"):
        philox4x32(counter, key)


@pytest.mark.parametrize("seed", [0, 7, 2**32 + 5, 2**63, 2**64 - 1])
@pytest.mark.parametrize("stream", [0, 1, 2**32 + 9, 2**64 - 1])
@pytest.mark.parametrize("offset", [0, 77, 2**32 - 3, 2**35 - 40, 2**40 + 1])
def test_mask_follows_the_documented_layout(seed, stream, offset):
    mask = keep_mask(300, 0.3, seed=seed, stream=stream, offset=offset)
    limit = round(65536 * 0.3)
    expected = [scalar_word(seed, stream, offset + i) >= limit for i in range(300)]
    assert mask.tolist() == expected


@pytest.mark.parametrize("seed", [7, 2**63 + 2**31])
@pytest.mark.parametrize("stream", [1, 2**64 - 1])
def test_torch_and_numpy_compute_the_same_words(seed, stream, monkeypatch):
    key = torch.tensor(seed - 2**64 if seed >= 2**63 else seed)
    arguments = 3000, 20000, key, stream, 2**35 - 1000
    by_numpy = reference.mask(*arguments)
    monkeypatch.setattr(philox, "_fastest", lambda x: x)
    assert torch.equal(reference.mask(*arguments), by_numpy)
