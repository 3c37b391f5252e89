"""The Jacobian form against all masks, its estimate by labels, and the noise it leaves out."""

import itertools

import pytest
import torch
from torch import nn

from dropkit.analytic import explicit_penalty, implicit_noise
from dropkit.noise import Dropout, Dropout2d, GaussianDropout
from dropkit.scaling import ClassicDropout


def net(*, p=0.4, outputs=3, last=1.0, seed=0):
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(p), nn.Linear(6, outputs)).double()
    made[3].weight.data *= last
    return made


def expected_loss(model, x, loss, p):
    """Over all masks of the one dropout layer, the same for every row, which changes no mean."""
    h = model[:2](x)
    total = 0.0
    for kept in itertools.product([0.0, 1.0], repeat=h.shape[1]):
        mask = torch.tensor(kept, dtype=torch.float64)
        chance = (1 - p) ** mask.sum() * p ** (1 - mask).sum()
        total = total + chance * loss(model[3](h * mask / (1 - p)))
    return total


X = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 1, 0])


@pytest.mark.parametrize("layer", [nn.Dropout, Dropout])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_exact_for_squared_error_before_the_last_layer(layer, p):
    model = net(p=p)
    model[2] = layer(p)
    target = torch.randn(5, 3, dtype=torch.float64)

    def loss(output):
        return (output - target).square().sum(1).mean()

    extra = expected_loss(model, X, loss, p) - loss(model.eval()(X))
    torch.testing.assert_close(explicit_penalty(model, X, kind="regression"), extra)


def test_second_order_for_the_cross_entropy():
    p, relative = 0.3, []  # at 0.5 the third moment of the mask is 0
    for scale in (0.04, 0.02, 0.01):
        model = net(p=p, last=scale)

        def loss(output):
            return nn.functional.cross_entropy(output, Y)

        extra = expected_loss(model, X, loss, p) - loss(model.eval()(X))
        relative.append(abs(1 - (explicit_penalty(model, X) / extra).item()))
    assert relative[0] < 0.02
    assert relative[1] / relative[0] == pytest.approx(0.5, abs=0.15)
    assert relative[2] / relative[1] == pytest.approx(0.5, abs=0.15)


def test_every_layer_adds_its_part():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Dropout(0.2), nn.Linear(4, 6), nn.Tanh(), GaussianDropout(0.5), nn.Linear(6, 3)
    ).double()
    first, second = nn.Sequential(*model[:3], *model[4:]), nn.Sequential(*model[1:])
    parts = explicit_penalty(first, X) + explicit_penalty(second, X)
    torch.testing.assert_close(explicit_penalty(model, X), parts)


def test_the_estimate_by_drawn_labels_is_right_on_average():
    model = net()
    exact = explicit_penalty(model, X).item()
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack(
        [explicit_penalty(model, X, exact=False, generator=generator) for _ in range(2000)]
    ).detach()
    z = (draws.mean() - exact) / (draws.std() / len(draws) ** 0.5)
    assert abs(z.item()) < 4
    assert draws.std() > 0


def test_it_trains_the_weights():
    model = net()

    explicit_penalty(model, X).backward()
    slope = model[3].weight.grad[0, 0].item()
    step = 1e-6
    ends = []
    for by in (step, -step):
        with torch.no_grad():
            model[3].weight[0, 0] += by
        ends.append(explicit_penalty(model, X).item())
        with torch.no_grad():
            model[3].weight[0, 0] -= by
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)
    assert slope != 0


def test_implicit_noise_has_mean_zero_and_the_variance_of_its_formula():
    model = net()

    def loss(output):
        return nn.functional.cross_entropy(output, Y)

    generator = torch.Generator().manual_seed(0)
    draws = torch.stack(
        [implicit_noise(model, X, loss, generator=generator) for _ in range(2000)]
    ).detach()
    assert abs(draws.mean() / (draws.std() / 2000**0.5)) < 4
    h = model[:2](X).detach().requires_grad_()
    (slope,) = torch.autograd.grad(loss(model[3](h)), h)
    variance = 0.4 / 0.6 * (slope * h).square().sum()
    # The sum of 30 coins is nearly normal: the variance's own error is √(2/n) of it.
    assert abs(draws.var() / variance - 1) < 4 * (2 / 2000) ** 0.5


@pytest.mark.parametrize("training", [True, False])
def test_modes_hooks_and_masks_are_left_alone(training):
    model = net().train(training)
    before = torch.get_rng_state()
    explicit_penalty(model, X)
    assert torch.equal(before, torch.get_rng_state())
    assert all(module.training is training for module in model.modules())
    assert not model[2]._forward_pre_hooks
    broken = nn.Sequential(net(), nn.Linear(7, 2).double()).train()
    with pytest.raises(RuntimeError):
        explicit_penalty(broken, X)
    assert broken[0][2].training
    assert not broken[0][2]._forward_pre_hooks


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(4, 2)), "no dropout layer"),
        (nn.Sequential(nn.Linear(4, 2), nn.Dropout2d(0.5)), r"1 \(Dropout2d\) is not unitwise"),
        (nn.Sequential(nn.Linear(4, 2), Dropout2d(0.5)), "not unitwise"),
        (nn.Sequential(nn.Linear(4, 2), nn.AlphaDropout(0.5)), "AlphaDropout"),
        (nn.Sequential(Dropout(0.5, shared_dims=(-1,)), nn.Linear(4, 2)), "not unitwise"),
        (nn.Sequential(nn.Dropout(1.0), nn.Linear(4, 2)), "p = 1"),
        (nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2), nn.BatchNorm1d(2)), "mixes the rows"),
        (nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 1)), r"logits \(rows, classes\)"),
    ],
)
def test_what_it_does_not_hold_for(model, message):
    with pytest.raises(ValueError, match=message):
        explicit_penalty(model, torch.randn(3, 4))


def test_what_is_dropped_may_have_no_gradient():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(9, 4), nn.Dropout(0.5), nn.Linear(4, 3))
    model[0].requires_grad_(requires_grad=False)
    tokens = torch.tensor([1, 5, 3])
    alone = explicit_penalty(model[1:], model[0](tokens))
    assert torch.equal(explicit_penalty(model, tokens), alone)
    assert torch.isfinite(implicit_noise(model, tokens, lambda output: output.square().mean()))


def test_one_output_without_a_dimension():
    model = net(outputs=1)
    squeezed = nn.Sequential(*model, nn.Flatten(0))
    expected = explicit_penalty(model, X, kind="regression")
    assert torch.equal(explicit_penalty(squeezed, X, kind="regression"), expected)


def test_dropout_that_is_not_called():
    with pytest.raises(ValueError, match="ClassicDropout must call its dropout layers"):
        explicit_penalty(ClassicDropout(nn.Dropout(0.5)).eval(), X)


def test_arguments():
    with pytest.raises(ValueError, match="kind must be"):
        explicit_penalty(net(), X, kind="ranking")
    with pytest.raises(ValueError, match="exact=False"):
        explicit_penalty(net(), X, kind="regression", exact=False)
