"""Parts of a thinned net called by hand: right in evaluation, refused where masks would mix."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dropkit.thinned import thin

pytestmark = pytest.mark.usefixtures("always")


def halves(cut):
    """Return a thinned net of two parts, cut before the layer of that number, and its plan."""
    layers = nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 3)
    net = nn.Sequential(nn.Sequential(*layers[:cut]), nn.Sequential(*layers[cut:]))
    return thin(net.double())


def data(rows=20, size=8):
    return torch.randn(rows, size, dtype=torch.float64)


@pytest.mark.parametrize("cut", [2, 3, 4])
def test_passes_must_not_interleave(cut):
    net, _ = halves(cut)
    first, second = net[0](data()), net[0](data())
    net[1](second)
    with pytest.raises(RuntimeError, match="once in each pass of the whole model, but 8 of 16"):
        net[1](first)


def test_a_part_may_have_its_own_values_whole():
    net, plan = halves(4)
    net(data())
    assert torch.equal(net[1](h := data(size=16)), plan.undo(net)[1](h))


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_parts_in_evaluation(cut):
    net, plan = halves(cut)
    net(data())
    net.eval()
    h = data(size=16)
    assert torch.equal(net[1](h), plan.undo(net)[1](h))


def test_a_layer_that_is_called_alone_where_the_model_cannot_be_followed():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.TransformerEncoderLayer(8, 2, 16, 0.5, batch_first=True)

        def forward(self, x):
            return self.block.dropout(self.block(x) if x.numel() > 0 else x)

    net, plan = thin(Branching().double())
    x = data()[None]
    with pytest.raises(RuntimeError, match="once in each pass"):
        net(x)
    net.eval()
    assert torch.equal(net(x), plan.undo(net)(x))


def test_dropout_alone_is_ordinary():
    net, _ = halves(3)
    net(data())
    y = net[1][0](torch.ones(20, 16, dtype=torch.float64))
    assert len(y.unique(dim=0)) > 10


def test_values_of_another_width_are_refused():
    net, _ = halves(4)
    net(data())
    with pytest.raises(RuntimeError, match="but 7 of 16 did not"):
        net[1](data(size=7))


def test_several_consumers_of_one_place():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.drop = nn.Linear(8, 16), nn.Dropout()
            self.b, self.c = nn.Linear(16, 3), nn.Linear(16, 3)

        def forward(self, x):
            h = self.drop(self.a(x))
            return self.b(h) + self.c(h)

    net, _ = thin(Two().double())
    for _ in range(2):
        net(data()).sum().backward()
    h = net.drop(net.a(data()))
    for layer in (net.b, net.c):
        layer(h)
    with pytest.raises(RuntimeError, match="once in each pass"):
        net.b(h)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_a_part_may_be_computed_again(cut, part, reentrant):
    net, _ = halves(cut)
    x = data().requires_grad_()
    grads = []
    for again in (False, True):
        net.zero_grad()
        torch.manual_seed(0)
        for module in net.modules():
            if hasattr(forward := vars(module).get("forward"), "units"):
                forward.units.forget()
        h = x
        for i, segment in enumerate(net):
            h = (
                checkpoint(segment, h, use_reentrant=reentrant)
                if again and i == part
                else segment(h)
            )
        h.square().sum().backward()
        grads.append([p.grad for p in net.parameters()])
    torch.testing.assert_close(*grads)
