"""The rate is learned; the relaxed mask has the distribution stated, summed over all its words."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropkit.noise._concrete_dropout import ConcreteDropout
from dropkit.noise._kl import LearnedNoise, kl_divergence
from dropkit.noise._uniform import uniform_like
from dropkit.noise._variational_dropout import VariationalDropout
from dropkit.random import keep_mask
from dropkit.testing import check_noise

LAYERS = [
    (lambda: nn.Linear(4, 3), (5, 4)),
    (lambda: nn.Conv1d(4, 3, 2), (5, 4, 6)),
    (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), (5, 4, 6, 6)),
    (lambda: nn.Conv3d(4, 3, 2), (2, 4, 3, 3, 3)),
]


def masks(p, temperature):
    """The noise for each of the 65,536 words, which are equally likely."""
    u = (torch.arange(1 << 16, dtype=torch.float64) + 0.5) / (1 << 16)
    z = torch.sigmoid((math.log((1 - p) / p) + torch.log(u / (1 - u))) / temperature)
    return z / (1 - p)


@pytest.mark.parametrize("temperature", [0.1, 0.7])
def test_the_noise_keeps_the_contract(temperature):
    """At p = 1/2, where the relaxed mask has the mean of the mask itself."""
    layer = ConcreteDropout(nn.Linear(4, 3), 0.5, temperature=temperature)
    m = masks(0.5, temperature)
    assert abs(float(m.mean()) - 1) < 1e-12
    variance = float(m.var(correction=0))
    check_noise(nn.Sequential(layer.drop), variance=lambda x: variance * x.square())


@pytest.mark.parametrize(("p", "temperature"), [(0.1, 0.1), (0.3, 0.5), (0.8, 0.1)])
def test_the_distribution_is_that_of_all_the_words(p, temperature):
    n = 200_000
    layer = ConcreteDropout(nn.Linear(1, 1), p, temperature=temperature).double()
    m, y = masks(p, temperature), layer.drop(torch.ones(n, 1, dtype=torch.float64)).detach()
    for power in (1, 2):
        expected, error = (m**power).mean(), (m**power).std() / math.sqrt(n)
        assert abs(float((y**power).mean() - expected)) < 5 * float(error)
    # The mask is above 1/2 with probability 1 − p.
    kept = float((y * (1 - p) > 0.5).double().mean())
    assert abs(kept - (1 - p)) < 5 * math.sqrt(p * (1 - p) / n) + 2**-16


@pytest.mark.parametrize("p", [0.05, 0.1, 0.25, 0.4, 0.5])
def test_evaluation_neglects_little(p):
    off = float(masks(p, 0.1).mean()) - 1
    assert math.isclose(off, -(math.pi**2) / 6 * 0.01 * p * (1 - 2 * p), abs_tol=1e-4)
    assert abs(off) < 0.0021


def test_a_low_temperature_gives_the_masks_of_dropout():
    drop = ConcreteDropout(nn.Linear(1, 1), 0.3, temperature=1e-7).double().drop
    x = torch.ones(1000, dtype=torch.float64)
    torch.manual_seed(3)
    y = drop(x)
    torch.manual_seed(3)
    keep = uniform_like(x) > 0.3
    torch.testing.assert_close(y, keep.double() / 0.7)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9999, 1.0])
def test_the_uniform_numbers_are_the_words_of_the_masks(p):
    u = uniform_like(torch.empty(300, 500), seed=11, stream=2)
    assert torch.equal(u > round(p * 65536) / 65536, keep_mask((300, 500), p, seed=11, stream=2))
    words = uniform_like(torch.empty(2_000_000), seed=1) * 65536 - 0.5
    assert torch.equal(words, words.round())
    assert int(words.min()) == 0
    assert int(words.max()) == 65535


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_a_convolution_loses_whole_channels(make, shape):
    drop, x = ConcreteDropout(make(), 0.5, temperature=1.0).drop, torch.ones(shape)
    y = drop(x).flatten(2) if x.dim() > 2 else drop(x)[..., None]
    assert torch.equal(y, y[..., :1].expand_as(y))
    assert len(y[..., 0].unique()) == y[..., 0].numel()
    assert drop(x[0]).shape == x[0].shape


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_divergence_is_the_papers(make, shape):
    """With M the weights of the network without the division by 1 − p."""
    p, length = 0.3, 0.7
    layer = ConcreteDropout(make().double(), p, length_scale=length)
    m = layer.layer.weight / (1 - p)
    entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
    expected = length**2 * (1 - p) / 2 * m.square().sum() - shape[1] * entropy
    torch.testing.assert_close(layer.kl(), expected)
    assert torch.autograd.gradcheck(
        lambda logit: torch.func.functional_call(_Kl(layer), {"layer.drop.logit": logit}, ()),
        layer.drop.logit,
    )


class _Kl(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self):
        return self.layer.kl()


@pytest.mark.parametrize("logit", [-200.0, -30.0, 30.0, 200.0])
def test_extreme_rates_stay_finite(logit):
    layer = ConcreteDropout(nn.Linear(4, 3))
    with torch.no_grad():
        layer.drop.logit.fill_(logit)
    x = torch.tensor([[1.0, -2.0, torch.inf, 0.0]], requires_grad=True)
    y = layer.drop(x)
    assert torch.equal(y, x if logit < 0 else torch.zeros_like(x))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, torch.full_like(x, float(logit < 0)))
    layer.drop(torch.ones(2, 4)).sum().backward()
    assert bool(layer.drop.logit.grad.isfinite())
    if logit < 50:  # beyond, the divergence itself overflows
        layer.kl().backward()
        assert bool(layer.drop.logit.grad.isfinite())


def test_the_rate_has_the_gradient_of_its_noise():
    drop = ConcreteDropout(nn.Linear(4, 3), 0.3, temperature=0.5).double().drop
    x = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)

    def noise(x, logit):
        torch.manual_seed(1)
        return torch.func.functional_call(drop, {"logit": logit}, (x,))

    assert torch.autograd.gradcheck(noise, (x, drop.logit))


def fit(examples):
    """Train a rate on a part of one regression problem's examples."""
    torch.manual_seed(0)
    x = torch.randn(250, 8)
    y = x[:, :1] + torch.randn(250, 1)
    x, y = x[:examples], y[:examples]
    layer = ConcreteDropout(nn.Linear(8, 1), 0.3, length_scale=1.0)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(300):
        loss = F.mse_loss(layer(x), y) / 2 + kl_divergence(layer) / examples
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return layer.drop.p


def test_more_data_learn_a_lower_rate():
    rates = [fit(examples) for examples in (10, 50, 250)]
    assert rates[0] > 2 * rates[1] > 4 * rates[2] > 0, rates


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_evaluation_is_the_layer_and_exports(make, shape):
    model, x = ConcreteDropout(make()).eval(), torch.randn(shape)
    state = torch.get_rng_state()
    assert torch.equal(model(x), model.layer(x))
    assert torch.equal(torch.get_rng_state(), state)
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x))
    assert not any("draw_seed" in str(node.target) for node in program.graph.nodes)


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_compiled_equals_eager(make, shape):
    model, x = ConcreteDropout(make(), 0.4), torch.randn(shape)
    torch.manual_seed(0)
    expected = model(x)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.manual_seed(0)
    torch.testing.assert_close(compiled(x), expected)


def test_copies_checkpoints_and_dtypes():
    model, x = ConcreteDropout(nn.Linear(4, 3), 0.4), torch.randn(5, 4)

    def draw(layer):
        torch.manual_seed(2)
        return layer(x)

    expected = draw(model)
    other = ConcreteDropout(nn.Linear(4, 3), 0.1)
    assert list(model.state_dict()) == ["layer.weight", "layer.bias", "drop.logit"]
    other.load_state_dict(model.state_dict(), strict=True)
    for twin in (other, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(draw(twin), expected)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        assert copy.deepcopy(model).to(dtype)(x.to(dtype)).dtype == dtype
    assert model(x[:0]).shape == (0, 3)
    assert model.to("meta").drop.logit.is_meta
    assert "temperature=0.1" in repr(model)


def test_the_sum_over_a_model_counts_each_layer_once():
    shared = ConcreteDropout(nn.Linear(4, 4))
    other = VariationalDropout(nn.Linear(4, 4))
    net = nn.Sequential(shared, nn.ReLU(), shared, other, nn.Linear(4, 2))
    torch.testing.assert_close(kl_divergence(net), shared.kl() + other.kl())
    kl_divergence(net).backward()
    assert shared.drop.logit.grad is not None
    assert other.log_variance.grad is not None
    with pytest.raises(ValueError, match="must hold a layer whose noise is learned"):
        kl_divergence(nn.Linear(2, 2))
    with pytest.raises(NotImplementedError):
        LearnedNoise().kl()


def test_refuses_what_it_cannot_learn():
    for p in (0.0, 1.0):
        with pytest.raises(ValueError, match="p must lie strictly between 0 and 1"):
            ConcreteDropout(nn.Linear(2, 2), p)
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
        ConcreteDropout(nn.Linear(2, 2), 1.5)
    with pytest.raises(ValueError, match="length_scale must be a finite number above 0"):
        ConcreteDropout(nn.Linear(2, 2), length_scale=0.0)
    with pytest.raises(ValueError, match="temperature must be a finite number above 0"):
        ConcreteDropout(nn.Linear(2, 2), temperature=-1.0)
    parametrized = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    for layer in (nn.ReLU(), nn.LSTM(2, 2), nn.ConvTranspose2d(2, 2, 2), parametrized):
        with pytest.raises(TypeError, match=r"layer must be an nn\.Linear, .* got"):
            ConcreteDropout(layer)
