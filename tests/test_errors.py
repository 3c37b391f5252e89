"""What is read from other people's errors."""

import pytest
import torch

from dropkit.errors import is_out_of_memory


def test_errors_of_every_allocator_are_recognized() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(torch.cuda.OutOfMemoryError())
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60)
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize("error", [RuntimeError("memory format"), ValueError(), SystemExit(1)])
def test_other_errors_are_not(error: BaseException) -> None:
    assert not is_out_of_memory(error)
