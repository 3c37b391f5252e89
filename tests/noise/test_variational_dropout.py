"""Outputs have the distribution of drawn weights; the divergence fits its integral."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropkit.noise._kl import kl_divergence
from dropkit.noise._variational_dropout import VariationalDropout
from dropkit.surgery import insert

LAYERS = [
    (lambda: nn.Linear(4, 3), (5, 4)),
    (lambda: nn.Linear(4, 3, bias=False), (2, 5, 4)),
    (lambda: nn.Conv1d(2, 3, 2, stride=2), (3, 2, 6)),
    (lambda: nn.Conv2d(2, 4, 3, padding=1, groups=2, padding_mode="reflect"), (2, 2, 5, 4)),
]


def divergence(log_alpha):
    """KL(N(1, α) ‖ log-uniform) less its limit at α → ∞: E log|ε| − ½ log α + (γ + log 2)/2.

    The expectation by the trapezoidal rule on either side of the pole of log|ε|, which the
    substitution |ε| = eᵗ takes away.
    """
    alpha = math.exp(log_alpha)
    t = torch.linspace(-40.0, math.log(1 + 12 * math.sqrt(alpha)), 400_001, dtype=torch.float64)
    size = t.exp()
    density = sum(torch.exp(-((sign * size - 1) ** 2) / (2 * alpha)) for sign in (-1, 1))
    integral = torch.trapezoid(t * size * density, t) / math.sqrt(2 * math.pi * alpha)
    gamma = 0.57721566490153286
    return float(integral) - log_alpha / 2 + (gamma + math.log(2)) / 2


def with_log_alpha(log_alpha):
    layer = VariationalDropout(nn.Linear(1, 1, dtype=torch.float64))
    with torch.no_grad():
        layer.layer.weight.fill_(0.5)
        layer.log_variance.fill_(log_alpha + math.log(0.25))
    return layer


@pytest.mark.parametrize("log_alpha", torch.linspace(-10, 10, 41).tolist())
def test_divergence_is_near_its_integral(log_alpha):
    layer = with_log_alpha(log_alpha)
    assert math.isclose(float(layer.log_alpha().detach()), log_alpha, abs_tol=1e-12)
    assert abs(float(layer.kl().detach()) - divergence(log_alpha)) < 0.01


def test_divergence_falls_from_the_log_of_the_signal_to_nothing():
    assert math.isclose(float(with_log_alpha(-40.0).kl().detach()), 0.63576 + 20, abs_tol=0.2)
    assert 0 <= float(with_log_alpha(40.0).kl().detach()) < 1e-15
    costs = [float(with_log_alpha(a).kl().detach()) for a in range(-8, 9)]
    assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_each_output_has_the_mean_and_variance_of_drawn_weights(make, shape):
    """Exactly: the output is linear in each weight, so its variance is a sum over the weights."""
    layer = VariationalDropout(make().double())
    with torch.no_grad():
        layer.log_variance.normal_(-2.0, 1.0)
    x = torch.randn(shape, dtype=torch.float64)
    inner, weight = layer.layer, layer.layer.weight
    with torch.no_grad():
        mean, variance = inner(x), torch.zeros_like(inner(x))
        for i in range(weight.numel()):
            one = torch.zeros(weight.numel(), dtype=torch.float64)
            one[i] = 1
            names = {"weight": one.view_as(weight)}
            if inner.bias is not None:
                names["bias"] = torch.zeros_like(inner.bias)
            slope = torch.func.functional_call(inner, names, (x,))
            variance += layer.log_variance.flatten()[i].exp() * slope.square()
        calls = 4000
        y = torch.stack([layer(x) for _ in range(calls)])
    z = (y - mean) / variance.sqrt()
    assert float(z.mean(0).abs().max()) < 5.5 / math.sqrt(calls)
    assert float((z.var(0) - 1).abs().max()) < 5.5 * math.sqrt(2 / calls)
    assert abs(float(z.square().mean()) - 1) < 5 * math.sqrt(2 / z.numel())


def test_a_linear_layer_has_the_distribution_of_drawn_weights():
    n = 40_000
    layer = VariationalDropout(nn.Linear(3, 2, dtype=torch.float64), log_variance=-1.0)
    x = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    with torch.no_grad():
        theta, sigma = layer.layer.weight, (layer.log_variance / 2).exp()
        weights = theta + sigma * torch.randn(n, 2, 3, dtype=torch.float64)
        brute = weights @ x + layer.layer.bias
        y = layer(x.expand(n, 3))
    # Two samples of one distribution (Kolmogorov and Smirnov), here at the level of 10⁻⁶.
    for i in range(2):
        both = torch.cat([y[:, i], brute[:, i]])
        step = torch.cat([torch.ones(n), -torch.ones(n)])[both.argsort()]
        assert float(step.cumsum(0).abs().max()) / n < 2.69 * math.sqrt(2 / n)
    # Outputs of one example, and examples, are independent.
    assert abs(float(torch.corrcoef(y.T)[0, 1])) < 5 / math.sqrt(n)
    assert abs(float(torch.corrcoef(torch.stack([y[1:, 0], y[:-1, 0]]))[0, 1])) < 5 / math.sqrt(n)


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_without_variance_it_is_the_layer(make, shape):
    layer, x = VariationalDropout(make(), log_variance=-200.0), torch.randn(shape)
    torch.testing.assert_close(layer(x), layer.layer(x))


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_hooks_run_once_and_see_the_noise(make, shape):
    plain, x = VariationalDropout(make(), log_variance=-1.0), torch.randn(shape)
    hooked, seen = copy.deepcopy(plain), []
    hooked.layer.register_forward_pre_hook(lambda _, inputs: (2 * inputs[0],))
    hooked.layer.register_forward_hook(lambda *arguments: seen.append(arguments[2]))
    hooked.layer.register_forward_hook(lambda _, inputs, output: output.relu())
    before = dict(hooked.layer._forward_hooks)
    torch.manual_seed(1)
    expected = plain(2 * x)
    torch.manual_seed(1)
    assert torch.equal(hooked(x), expected.relu())
    assert len(seen) == 1
    assert torch.equal(seen[0], expected)
    assert hooked.layer._forward_hooks == before
    hooked.eval()
    torch.testing.assert_close(hooked(x), plain.layer(2 * x).relu())


def test_a_layer_put_after_acts_on_the_noisy_output():
    layer, x = VariationalDropout(nn.Linear(4, 3), log_variance=5.0), torch.randn(50, 4)
    model, _ = insert(nn.Sequential(layer), nn.ReLU(), after="0.layer")
    assert bool((layer(x) < 0).any())
    assert bool((model(x) >= 0).all())
    compiled = torch.compile(model, backend="eager")
    assert bool((compiled(x) >= 0).all())


def test_zeros_have_finite_gradients():
    layer, x = VariationalDropout(nn.Linear(4, 3)), torch.zeros(5, 4, requires_grad=True)
    with torch.no_grad():
        layer.layer.weight[0] = 0
    y = layer(x)
    torch.testing.assert_close(y, layer.layer.bias.expand(5, 3))
    (y.sum() + layer.kl()).backward()
    for tensor in (x, *layer.parameters()):
        assert bool(tensor.grad.isfinite().all())


def test_gradients_are_those_of_the_draw():
    layer = VariationalDropout(nn.Linear(3, 2, dtype=torch.float64), log_variance=-1.0)
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def draw(x, weight, log_variance):
        torch.manual_seed(1)
        changed = {"layer.weight": weight, "log_variance": log_variance}
        return torch.func.functional_call(layer, changed, (x,))

    assert torch.autograd.gradcheck(draw, (x, layer.layer.weight, layer.log_variance))


def test_pruned_is_a_plain_layer_without_the_noisy_weights():
    layer = VariationalDropout(nn.Conv2d(2, 3, 3))
    with torch.no_grad():
        layer.log_variance.copy_(layer.layer.weight.square().log() + 2.0)
        layer.log_variance[1] += 2.0
    weight = layer.layer.weight.clone()
    plain = layer.pruned()
    assert type(plain) is nn.Conv2d
    assert bool((plain.weight[1] == 0).all())
    assert torch.equal(plain.weight[::2], weight[::2])
    assert torch.equal(plain.bias, layer.layer.bias)
    assert torch.equal(layer.layer.weight, weight)
    assert bool((layer.pruned(1.0).weight == 0).all())
    assert torch.equal(layer.pruned(5.0).weight, weight)


def test_learns_which_weights_matter():
    """Five inputs of fifty make the output. Most others are pruned, and it predicts better."""
    n, steps = 500, 1000
    x, new = torch.randn(n, 50), torch.randn(5000, 50)
    y = x[:, :5].sum(1, keepdim=True) + torch.randn(n, 1)
    layer = VariationalDropout(nn.Linear(50, 1), log_variance=-6.0)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.03)
    rate = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for _ in range(steps):
        loss = F.mse_loss(layer(x), y) / 2 + kl_divergence(layer) / n
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    plain = layer.pruned()
    kept = (plain.weight != 0)[0]
    assert bool(kept[:5].all())
    assert int(kept[5:].sum()) < 45 / 2
    truth = new[:, :5].sum(1, keepdim=True)
    least_squares = F.mse_loss(new @ torch.linalg.lstsq(x, y).solution, truth)
    assert float(F.mse_loss(plain(new), truth).detach()) < float(least_squares) / 2


def test_evaluation_is_the_mean_and_exports():
    for make, shape in LAYERS:
        model, x = VariationalDropout(make()).eval(), torch.randn(shape)
        state = torch.get_rng_state()
        assert torch.equal(model(x), model.layer(x))
        assert torch.equal(torch.get_rng_state(), state)
        program = torch.export.export(model, (x,))
        torch.testing.assert_close(program.module()(x), model(x))
        assert not any("draw_seed" in str(node.target) for node in program.graph.nodes)


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_compiled_equals_eager(make, shape):
    model, x = VariationalDropout(make(), log_variance=-1.0), torch.randn(shape)
    torch.manual_seed(0)
    expected = model(x)
    assert not torch.allclose(expected, model.layer(x), atol=0.01)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.manual_seed(0)
    torch.testing.assert_close(compiled(x), expected)


def test_copies_checkpoints_and_dtypes():
    model, x = VariationalDropout(nn.Linear(4, 3), log_variance=-1.0), torch.randn(5, 4)

    def draw(layer):
        torch.manual_seed(2)
        return layer(x)

    expected = draw(model)
    other = VariationalDropout(nn.Linear(4, 3))
    assert list(model.state_dict()) == ["log_variance", "layer.weight", "layer.bias"]
    other.load_state_dict(model.state_dict(), strict=True)
    for twin in (other, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(draw(twin), expected)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        assert copy.deepcopy(model).to(dtype)(x.to(dtype)).dtype == dtype
    assert model(x[:0]).shape == (0, 3)


def test_squares_do_not_overflow_in_half_precision():
    x = torch.full((2, 4), 1000.0)
    layer = VariationalDropout(nn.Linear(4, 3))
    with torch.autocast("cpu", dtype=torch.float16):
        assert bool(layer(x).isfinite().all())
    assert bool(layer.half()(x.half()).isfinite().all())


def test_refuses_other_layers():
    for layer in (nn.ReLU(), nn.LSTM(2, 2), nn.ConvTranspose2d(2, 2, 2)):
        with pytest.raises(TypeError, match=r"layer must be an nn\.Linear, .* got"):
            VariationalDropout(layer)


class Adapted(nn.Linear):
    """A layer with a low-rank change of its weight beside it, as fine-tuning adds it."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.down, self.up = nn.Linear(sizes[0], 1), nn.Linear(1, sizes[1])

    def forward(self, x):
        return super().forward(x) + self.up(self.down(x))


def test_refuses_a_forward_pass_that_is_not_of_torch():
    class Named(nn.Linear):
        pass

    assert VariationalDropout(Named(4, 3))(torch.ones(2, 4)).shape == (2, 3)
    patched = nn.Linear(4, 3)
    patched.forward = lambda x: x
    for layer in (Adapted(4, 3), patched):
        with pytest.raises(TypeError, match=r"W x \+ b, got .* with its own forward pass"):
            VariationalDropout(layer)


def test_small_weights_in_half_precision_are_pruned_too():
    layer = VariationalDropout(nn.Linear(2, 2))
    nn.init.constant_(layer.layer.weight, 1e-4)
    exact = layer.log_alpha()
    half = layer.half()
    assert torch.allclose(half.log_alpha(), exact, atol=0.02)
    assert not half.pruned().weight.any()
