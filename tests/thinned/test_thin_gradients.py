"""Thinned steps against the dense net under the same mask, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, jacfwd, jacrev, jvp
from torch.utils._pytree import tree_leaves

from dropkit import surgery
from dropkit.noise import Dropout, Dropout1d, Dropout2d, Dropout3d
from dropkit.thinned import thin
from helpers.masked_net import assert_close, assert_same_step, double, masked

pytestmark = pytest.mark.usefixtures("always")


class FeedForward(nn.Module):
    """Functions instead of layers, a hidden layer consumed twice."""

    def __init__(self):
        super().__init__()
        self.make = nn.Linear(6, 10)
        self.drop = nn.Dropout(0.4)
        self.left, self.right = nn.Linear(10, 4), nn.Linear(10, 4, bias=False)

    def forward(self, x):
        hidden = self.drop(F.gelu(self.make(x)))
        return torch.sigmoid(self.left(hidden)) * self.right(hidden)


def mlp(drop):
    return (
        *(drop(0.3), nn.Linear(7, 12), nn.ReLU(), drop(0.5), nn.Linear(12, 16), nn.Tanh()),
        *(drop(0.25), nn.ReLU(), nn.Linear(16, 3, bias=False)),
    )


def images(drop, *between):
    return (
        *(nn.Conv2d(3, 8, 3), *between, nn.ReLU(), nn.MaxPool2d(2), drop(0.5)),
        *(nn.Conv2d(8, 6, 3, padding=1, padding_mode="circular", bias=False), nn.ELU(), drop(0.5)),
        *(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(6 * 9, 5)),
    )


NETS = {
    "mlp": (lambda: mlp(nn.Dropout), (9, 7)),
    "mlp, ours": (lambda: mlp(Dropout), (9, 7)),
    "tokens": (lambda: mlp(nn.Dropout), (5, 4, 7)),
    "one row": (lambda: mlp(nn.Dropout), (1, 7)),
    "sigmoid": (
        lambda: (nn.Linear(7, 12), nn.Sigmoid(), nn.Dropout(0.5), nn.Linear(12, 3)),
        (9, 7),
    ),
    "no activation": (lambda: (nn.Linear(7, 12), nn.Dropout(0.5), nn.Linear(12, 3)), (9, 7)),
    "columns": (
        lambda: (nn.Linear(7, 12), nn.LayerNorm(12), nn.Dropout(0.5), nn.Linear(12, 3)),
        (9, 7),
    ),
    "rows": (
        lambda: (nn.Linear(7, 12), nn.ReLU(), nn.Dropout(0.5), nn.LayerNorm(12)),
        (5, 4, 7),
    ),
    "functions": (lambda: (FeedForward(),), (9, 6)),
    "images": (lambda: images(nn.Dropout2d), (6, 3, 14, 14)),
    "images, ours": (lambda: images(Dropout2d), (6, 3, 14, 14)),
    "shared dimensions": (
        lambda: images(lambda p: Dropout(p, shared_dims=(-1, -2))),
        (6, 3, 14, 14),
    ),
    "channel rows and columns": (
        lambda: (
            *(nn.Conv2d(3, 8, 3), nn.Dropout2d(0.5), nn.GroupNorm(2, 8)),
            *(nn.Dropout2d(0.5), nn.Conv2d(8, 2, 3)),
        ),
        (6, 3, 8, 8),
    ),
    "pooled features": (
        lambda: (
            *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            *(nn.Dropout(0.5), nn.Linear(8, 3)),
        ),
        (6, 3, 8, 8),
    ),
    "sequences": (
        lambda: (nn.Conv1d(3, 8, 3), nn.SiLU(), Dropout1d(0.5), nn.Conv1d(8, 2, 3)),
        (6, 3, 9),
    ),
    "volumes": (
        lambda: (nn.Conv3d(2, 6, 2), nn.PReLU(), Dropout3d(0.5), nn.Conv3d(6, 2, 2, stride=2)),
        (4, 2, 5, 5, 5),
    ),
}
NORMS = {
    "images": (lambda: images(nn.Dropout2d, nn.BatchNorm2d(8)), (6, 3, 14, 14)),
    "without factors": (
        lambda: images(nn.Dropout2d, nn.BatchNorm2d(8, affine=False)),
        (6, 3, 14, 14),
    ),
    "without running statistics": (
        lambda: images(nn.Dropout2d, nn.BatchNorm2d(8, track_running_stats=False)),
        (6, 3, 14, 14),
    ),
    "mlp": (
        lambda: (
            *(nn.Linear(7, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.5)),
            nn.Linear(12, 3),
        ),
        (9, 7),
    ),
}


def data(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("name", NETS)
def test_a_step_is_that_of_the_masked_net(name, groups):
    torch.manual_seed(2)
    layers, shape = NETS[name]
    net, plan = thin(double(*layers()), groups)
    dense = masked(net, plan)
    for _ in range(3):
        assert_same_step(net, dense, data(*shape))
    assert all(len(net.get_submodule(line.split(":")[0]).forward.units.making()) == min(
        groups, shape[0]
    ) for line in plan.thinned)  # fmt: skip


@pytest.mark.parametrize("name", NORMS)
def test_batch_normalization_of_the_kept_channels(name):
    torch.manual_seed(2)
    layers, shape = NORMS[name]
    net, plan = thin(double(*layers()))
    norm = net[1]
    dense = masked(net, plan)
    for _ in range(3):
        before = {k: v.clone() for k, v in norm.state_dict().items() if "running" in k}
        assert_same_step(net, dense, data(*shape))
        (kept,) = norm.forward.units.making()
        for key, old in before.items():
            expected = old.clone()
            expected[kept] = dense[1].state_dict()[key][kept]
            assert_close(norm.state_dict()[key], expected, key)
        dense.load_state_dict(net.state_dict())
    if before:
        assert norm.num_batches_tracked == 3


def test_averages_over_all_batches_are_of_all_channels():
    torch.manual_seed(2)
    net, plan = thin(double(nn.Linear(7, 12), nn.BatchNorm1d(12), nn.Dropout(), nn.Linear(12, 3)))
    dense, batches = plan.undo(net), [data(9, 7) + shift for shift in range(3)]
    for model in (net, dense):
        torch.optim.swa_utils.update_bn(batches, model)
    assert_close(net[1].running_mean, dense[1].running_mean)
    assert_close(net[1].running_var, dense[1].running_var)
    net(batches[0])
    assert net[1].forward.units.making() is not None  # with its momentum again


def test_frozen_batch_normalization():
    torch.manual_seed(2)
    layers, shape = NORMS["images"]
    net, plan = thin(double(*layers()))
    net(data(*shape))
    dense = masked(net, plan)
    before = net[1].running_mean.clone()
    for model in (net, dense):
        model[1].eval()
    assert_same_step(net, dense, data(*shape))
    assert torch.equal(net[1].running_mean, before)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
        lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01),
        lambda p: torch.optim.AdamW(p, lr=0.01),
    ],
)
def test_optimizers_move_what_was_dropped_as_ever(optimizer):
    torch.manual_seed(2)
    net, plan = thin(double(*mlp(nn.Dropout)))
    dense = masked(net, plan)
    optimizers = [optimizer(model.parameters()) for model in (net, dense)]
    for _ in range(6):
        assert_same_step(net, dense, data(9, 7), optimizers)


def test_tied_weights_accumulate():
    torch.manual_seed(2)
    layers = double(*(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 8), nn.Tanh()))
    layers[3].weight = layers[0].weight
    net, plan = thin(layers)
    dense = masked(net, plan)
    assert dense[3].weight is dense[0].weight
    assert_same_step(net, dense, data(9, 8))


def test_gradients_add_up_over_passes():
    torch.manual_seed(2)
    net, _ = thin(double(*mlp(nn.Dropout)))
    apart, together = [], []
    for total in (apart, together):
        torch.manual_seed(3)
        losses = [net(data(9, 7)).square().sum() for _ in range(2)]  # the second mask is another
        if total is apart:
            grads = [torch.autograd.grad(loss, list(net.parameters())) for loss in losses]
            total += [a + b for a, b in zip(*grads, strict=True)]
        else:
            sum(losses).backward()
            total += [p.grad for p in net.parameters()]
    for a, b in zip(apart, together, strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("groups", [1, 2])
def test_second_derivatives(groups):
    torch.manual_seed(2)
    net, plan = thin(double(nn.Linear(3, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 2)), groups)
    dense = masked(net, plan)
    penalties = []
    for model in (net, dense):
        x = data(4, 3).requires_grad_()
        (grad,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
        grad.square().sum().backward()
        penalties.append([p.grad for p in model.parameters()])
    for a, b in zip(*penalties, strict=True):
        assert_close(a, b)


FORWARD = {
    "jvp": lambda f: lambda w: jvp(f, (w,), (w,))[1],
    "jacfwd": lambda f: jacfwd(f, randomness="same"),
    "hessian": lambda f: jacfwd(jacrev(f), randomness="same"),
    "reverse of forward": lambda f: jacrev(jacfwd(f, randomness="same")),
}


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("spatial", [0, 1])
@pytest.mark.parametrize("name", FORWARD)
def test_forward_differentiation(name, spatial, groups):
    layers = [
        (nn.Linear(3, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 2)),
        (nn.Conv1d(3, 6, 2), nn.Tanh(), nn.Dropout1d(0.5), nn.Conv1d(6, 2, 2)),
    ][spatial]
    net, plan = thin(double(*layers), groups)
    x = data(4, 3, 4) if spatial else data(4, 3)
    found = []
    for model in (net, masked(net, plan)):

        def loss(weights, model=model):
            torch.manual_seed(3)
            return functional_call(model, weights, (x,)).square().sum()

        weights = {key: p.detach() for key, p in model.named_parameters()}
        found.append(tree_leaves(FORWARD[name](loss)(weights)))
        loss(weights)  # the same choice again, outside the transform, for the masks
    for a, b in zip(*found, strict=True):
        assert_close(a, b)


def test_tangents():
    torch.manual_seed(2)
    net, plan = thin(double(*mlp(nn.Dropout)))
    with forward_ad.dual_level():
        tangents = []
        for model in (net, masked(net, plan)):
            torch.manual_seed(3)
            x = forward_ad.make_dual(data(9, 7), torch.ones(9, 7).double())
            tangents.append(forward_ad.unpack_dual(model(x)).tangent)
    assert_close(*tangents)


def test_transformer_layers():
    torch.manual_seed(2)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True)
    net, plan = thin(double(layer), groups=2)
    assert [line.split(",")[0] for line in plan.thinned] == [
        "0.dropout: 0.linear1 computes and 0.linear2 reads 8 of 16 units"
    ]
    assert len(plan.left) == 3
    for name in ("dropout1", "dropout2"):
        setattr(net[0], name, nn.Identity())
    net[0].self_attn.dropout = 0.0
    dense = masked(net, plan)
    assert_same_step(net, dense, data(5, 4, 8))


def test_layers_put_after_activations():
    torch.manual_seed(2)
    plain = double(nn.Linear(7, 12), nn.ReLU(), nn.Linear(12, 3))
    net, _ = surgery.insert(plain, Dropout(0.5))
    net, plan = thin(net)
    assert [line.split(",")[0] for line in plan.thinned] == [
        "1.after: layer 0 computes and layer 2 reads 6 of 12 units"
    ]
    assert_same_step(net, masked(net, plan), data(9, 7))


@pytest.mark.parametrize("spatial", [0, 2])
def test_a_single_example_without_a_batch(spatial):
    torch.manual_seed(2)
    layers = (nn.Conv2d(3, 8, 3), nn.Dropout2d(0.5), nn.Conv2d(8, 2, 3))
    net, _ = thin(double(*(layers if spatial else mlp(nn.Dropout))), groups=3)
    x = data(1, *([3, 8, 8] if spatial else [7]))
    torch.manual_seed(3)
    expected = net(x)
    torch.manual_seed(3)
    assert_close(net(x[0]), expected[0])
