"""Cutting, putting, adding and writing parts of a matrix: kernel and torch."""

import pytest
import torch

from dropkit.thinned import _matrix

KEPT = [
    (torch.tensor([0, 3, 4, 7]), torch.tensor([1, 2, 8])),
    (torch.tensor([2]), torch.tensor([4])),
    (torch.tensor([1, 5]), None),
    (None, torch.tensor([0, 8])),
    (torch.arange(8), torch.arange(9)),
]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "columns"), KEPT)
def test_parts_of_a_matrix(rows, columns, dtype):
    whole = torch.randn(8, 9).to(dtype)
    at = torch.meshgrid(
        torch.arange(8) if rows is None else rows,
        torch.arange(9) if columns is None else columns,
        indexing="ij",
    )
    part = _matrix.cut(whole, rows, columns)
    assert torch.equal(part, whole[at])
    expected = torch.zeros(8, 9, dtype=dtype)
    expected[at] = part
    assert torch.equal(_matrix.put(part, rows, columns, whole.shape), expected)
    expected = whole.clone()
    expected[at] += part
    assert _matrix.add(whole, part, rows, columns) is whole
    assert torch.equal(whole, expected)
    if rows is not None or columns is not None:
        expected[at] = part
        _matrix.write(whole, part, rows, columns)
        assert torch.equal(whole, expected)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("threads", [1, 2])
def test_large_matrices_are_shared_among_threads(threads):
    rows, columns = (torch.randperm(1000)[:500].sort().values for _ in range(2))
    whole = torch.randn(1000, 1000)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        part = _matrix.cut(whole, rows, columns)
        assert torch.equal(part, whole[rows][:, columns])
        spread = _matrix.put(part, rows, columns, whole.shape)
        written = torch.zeros_like(whole)
        _matrix.write(written, part, rows, columns)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(spread[rows][:, columns], part)
    assert torch.equal(written, spread)
    assert spread.count_nonzero() == part.count_nonzero()
