"""Models that cannot be copied, because torch holds their methods."""

import pytest
import torch
from torch import nn

from dropkit import doctor, predict
from dropkit.noise import Dropout
from dropkit.surgery import insert

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


class Compiled(nn.Module):
    """Compiles a method of its own, which a copy would call on the original."""

    def __init__(self):
        super().__init__()
        self.block, self.out = nn.Sequential(nn.Linear(4, 4), nn.Sigmoid()), nn.Linear(4, 4)
        self.fast = torch.compile(self.inner, backend="eager")

    def inner(self, x):
        return self.block(x)

    def forward(self, x):
        return self.out(self.fast(x))


def test_a_method_that_torch_compiled_is_not_copied():
    model = Compiled()
    with pytest.raises(ValueError, match=r"because fast of Compiled would .* pass copy=False"):
        insert(model, Dropout(1.0))
    with pytest.raises(ValueError, match="because fast of Compiled would call the original"):
        doctor(model, X)
    expected = model(X)
    model, report = insert(model, Dropout(1.0), copy=False)
    assert report.changed == ("block.1",)
    assert torch.equal(model(X), model.out.bias.expand(3, 4))
    assert torch.equal(model.eval()(X), expected)
    model.block[1].after.p = 0.5
    assert predict(model, X, 10).variance.any()
    assert torch.equal(model(X), expected)
