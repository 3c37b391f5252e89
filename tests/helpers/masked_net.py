"""The truth that thinned nets are held against: the dense net under the masks they drew."""

import copy

import torch
from torch import nn


class Mask(nn.Module):
    """Multiplies by the mask that a place drew in its last pass, or is the identity."""

    def __init__(self, spatial):
        super().__init__()
        self.spatial = spatial
        self.units = None

    def forward(self, x):
        kept = self.units.making()
        if kept is None or not self.training:
            return x
        batch = x.shape[0]
        mask = torch.zeros(batch, self.units.size, dtype=x.dtype)
        for rows, index in zip(torch.arange(batch).tensor_split(len(kept)), kept, strict=True):
            mask[rows[:, None], index] = self.units.size / len(index)
        middle = [1] * (x.dim() - self.spatial - 2)
        return x * mask.view(batch, *middle, self.units.size, *[1] * self.spatial)


def masked(thinned, plan):
    """Return a copy of the net with ordinary products, and a ``Mask`` for each thinned layer."""
    net = plan.undo(thinned)
    for line in plan.thinned:
        name = line.split(":")[0]
        layer = thinned.get_submodule(name)
        mask = Mask(layer.forward.spatial)
        mask.units = layer.forward.units
        parent, _, attribute = name.rpartition(".")
        setattr(net.get_submodule(parent), attribute, mask)
    return net


def assert_same_step(thinned, dense, x, optimizers=None):
    """Run one training step of both, and compare output, gradients and parameters."""
    inputs = [x.clone().requires_grad_(x.is_floating_point()) for _ in range(2)]
    weight = None
    outputs = []
    for net, some in zip((thinned, dense), inputs, strict=True):
        for p in net.parameters():
            p.grad = None
        y = net(some)
        weight = torch.randn_like(y) if weight is None else weight
        (y * weight).sum().backward()
        outputs.append(y)
    assert_close(*outputs)
    assert_close(inputs[0].grad, inputs[1].grad)
    for (name, p), q in zip(thinned.named_parameters(), dense.parameters(), strict=True):
        assert_close(p.grad, q.grad, name)
    for optimizer in optimizers or ():
        optimizer.step()
    for (name, p), q in zip(thinned.named_parameters(), dense.parameters(), strict=True):
        assert_close(p, q, name)


def assert_close(a, b, what=""):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11, msg=lambda m: f"{what}: {m}")


def double(*layers):
    """Return a net of float64 that starts the same way in every test."""
    net = nn.Sequential(*layers).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return copy.deepcopy(net)


def mlp(p=0.5):
    """Return the smallest net with something to thin."""
    return nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Dropout(p), nn.Linear(20, 3))
