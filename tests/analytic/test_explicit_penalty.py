"""The Jacobian form against all masks, its estimate by all labels, and the noise left out."""

import itertools

import pytest
import torch
from torch import nn

from dropkit.analytic import explicit_penalty, implicit_noise
from dropkit.noise import (
    AttentionDropout,
    ConcreteDropout,
    DropConnect,
    Dropout,
    Dropout2d,
    EmbeddingDropout,
    GaussianDropout,
    HeadDropout,
    LayerDrop,
    MultiSampleDropout,
    StochasticDepth,
    TargetedDropout,
    VariationalDropout,
    WeightDrop,
)
from dropkit.scaling import ClassicDropout


def net(*, p=0.4, outputs=3, last=1.0, seed=0):
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(p), nn.Linear(6, outputs)).double()
    made[3].weight.data *= last
    return made


def expected_loss(model, x, loss, p, at=2):
    """Over all masks of the one dropout layer, the same for every row, which changes no mean."""
    h = model[:at](x)
    total = 0.0
    for kept in itertools.product([0.0, 1.0], repeat=h.shape[1]):
        mask = torch.tensor(kept, dtype=torch.float64)
        chance = (1 - p) ** mask.sum() * p ** (1 - mask).sum()
        total = total + chance * loss(model[at + 1 :](h * mask / (1 - p)))
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
    torch.testing.assert_close(explicit_penalty(model, X, task="regression"), extra)


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


def row_losses(output, y, task):
    if task == "classification":
        return nn.functional.cross_entropy(output, y, reduction="none")
    return (output - 2 * nn.functional.one_hot(y, 3)).square().sum(1)


def second_order(model, p, task):
    """What JᵀHJ gives of the second order, and what the model's own second derivative does."""
    parts = torch.zeros(2, dtype=torch.float64)
    for x, y in zip(X.split(1), Y.split(1), strict=True):
        after = model[1:]

        def loss(output, y=y):
            return row_losses(output, y, task).sum()

        def whole(h, loss=loss, after=after):
            return loss(after(h))

        jacobian = torch.autograd.functional.jacobian(after, x).view(3, 4)
        inner = torch.autograd.functional.hessian(loss, after(x).detach()).view(3, 3)
        full = torch.autograd.functional.hessian(whole, x).view(4, 4).diagonal()
        first = (jacobian.T @ inner @ jacobian).diagonal()
        parts += p / (1 - p) / 2 * (torch.stack([first, full - first]) * x.square()).sum(1) / len(X)
    return parts


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
def test_it_is_the_gauss_newton_part(activation, task):
    """All of the second order through layers that are piecewise linear, but not smooth ones."""
    p, errors = 0.3, []
    for scale in (0.04, 0.02, 0.01):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Dropout(p), nn.Linear(4, 6), activation(), nn.Linear(6, 3))
        model.double()[1].weight.data *= scale
        model[1].bias.data = torch.linspace(-1, 1, 6, dtype=torch.float64)  # far from the kink

        def loss(output):
            return row_losses(output, Y, task).mean()

        first, rest = second_order(model, p, task)
        torch.testing.assert_close(explicit_penalty(model, X, task=task), first)
        assert rest > first if activation is nn.GELU else rest.abs() < 1e-12 * first
        extra = expected_loss(model, X, loss, p, at=0) - loss(model.eval()(X))
        errors.append((1 - (first + rest) / extra).abs().item())
    assert errors[0] < 0.01
    assert errors[1] < max(0.6 * errors[0], 1e-9)
    assert errors[2] < max(0.6 * errors[1], 1e-9)


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


def test_the_gradient_of_the_estimate_is_right_on_average(monkeypatch):
    """Over all labels of two rows, each as likely as the model has it."""
    model, x = net(), X[:2]
    parameters = list(model.parameters())
    chances = model.eval()(x).softmax(1).detach()
    value, slopes = 0.0, [torch.zeros_like(w) for w in parameters]
    for labels in itertools.product(range(3), repeat=2):
        drawn = torch.tensor(labels)[:, None]
        monkeypatch.setattr(torch, "multinomial", lambda *_, drawn=drawn, **__: drawn)
        found = explicit_penalty(model, x, exact=False)
        chance = chances.gather(1, drawn).prod()
        value += (chance * found).item()
        for slope, by in zip(slopes, torch.autograd.grad(found, parameters[:3]), strict=False):
            slope += chance * by
    exact = explicit_penalty(model, x)
    assert value == pytest.approx(exact.item(), rel=1e-12)
    torch.testing.assert_close(slopes[:3], list(torch.autograd.grad(exact, parameters[:3])))


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
        (nn.Sequential(nn.Linear(4, 2), nn.Dropout2d(0.5)), r"1 \(Dropout2d\) is not dropout of"),
        (nn.Sequential(nn.Linear(4, 2), Dropout2d(0.5)), "not dropout of single"),
        (nn.Sequential(nn.Linear(4, 2), nn.AlphaDropout(0.5)), "AlphaDropout"),
        (nn.Sequential(Dropout(0.5, shared_dims=(-1,)), nn.Linear(4, 2)), "not dropout of single"),
        (nn.Sequential(nn.Dropout(1.0), nn.Linear(4, 2)), "p = 1"),
        (nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2), nn.BatchNorm1d(2)), "mixes the rows"),
        (nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 1)), r"logits \(rows, classes\)"),
    ],
)
def test_what_it_does_not_hold_for(model, message):
    with pytest.raises(ValueError, match=message):
        explicit_penalty(model, torch.randn(3, 4))


@pytest.mark.parametrize(
    "layer",
    [
        AttentionDropout(),
        ConcreteDropout(nn.Linear(4, 4)),
        DropConnect(nn.Linear(4, 4)),
        EmbeddingDropout(nn.Embedding(4, 4)),
        HeadDropout(nn.MultiheadAttention(4, 2)),
        LayerDrop([nn.Linear(4, 4)]),
        MultiSampleDropout(nn.Linear(4, 4)),
        StochasticDepth(nn.Linear(4, 4)),
        TargetedDropout(nn.Linear(4, 4)),
        VariationalDropout(nn.Linear(4, 4)),
        WeightDrop(nn.LSTM(4, 4)),
        ClassicDropout(nn.Dropout(0.5)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_variants_that_hold_dropout_are_refused_by_name(layer):
    model = nn.Sequential(nn.Dropout(0.5), layer, nn.Linear(4, 2))
    for training in (True, False):
        with pytest.raises(ValueError, match=rf"1 \({type(layer).__name__}\) is not dropout of"):
            explicit_penalty(model.train(training), X.float())


class Calls(nn.Module):
    """A net whose forward pass is a function of it and the rows; ``drop`` is its dropout."""

    def __init__(self, forward, **parts):
        super().__init__()
        torch.manual_seed(0)
        self.drop, self.first, self.last = nn.Dropout(0.4), nn.Linear(4, 6), nn.Linear(6, 3)
        self.calls = forward
        for name, part in parts.items():
            setattr(self, name, part)
        self.double()

    def forward(self, x):
        return self.calls(self, x)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("shape", [(1, 3, 4), (5, 4)])  # the latter as many as there are rows
def test_what_rows_share_is_refused(shape, task):
    net = Calls(
        lambda net, x: net.last(net.first(x[:, None] * net.drop(net.position)).tanh().sum(1)),
        position=nn.Parameter(torch.randn(shape)),
    )
    with pytest.raises(ValueError, match=r"drop \(Dropout\) must drop values that belong to one"):
        explicit_penalty(net, X, task=task)
    assert torch.isfinite(explicit_penalty(net, X[:1], task=task))


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_rows_may_lie_in_any_dimension(task):
    def tokens(net, x):
        return net.first(x[:, None] * net.position.expand(len(x), 2, 4)).tanh()

    position = nn.Parameter(torch.randn(2, 4))
    first = Calls(lambda net, x: net.last(net.drop(tokens(net, x)).sum(1)), position=position)
    flat = Calls(
        lambda net, x: net.last(net.drop(tokens(net, x).flatten(0, 1)).view(-1, 2, 6).sum(1)),
        position=position,
    )
    second = Calls(
        lambda net, x: net.last(net.drop(tokens(net, x).transpose(0, 1)).sum(0)),
        position=position,
    )
    alone = torch.stack([explicit_penalty(first, row[None], task=task) for row in X]).mean()
    for model in (first, flat, second):
        torch.testing.assert_close(explicit_penalty(model, X, task=task), alone)


def with_skip(net, x):
    h = net.first(x).tanh()
    return net.last(h + net.drop(h).square())


def with_skip_in_place(net, x):
    h = net.first(x).tanh()
    h += net.drop(h).square()
    return net.last(h)


def with_a_call_that_leads_nowhere(net, x):
    net.drop(net.first(x))
    return net.last(net.first(net.drop(x)).tanh())


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.last(net.drop(net.first(x)).tanh_()),
        lambda net, x: net.last(net.first(net.drop(x).mul_(2)).tanh()),
        lambda net, x: net.last(net.drop(input=net.first(x).tanh())),
        with_skip,
        with_skip_in_place,
        with_a_call_that_leads_nowhere,
    ],
    ids=["in place", "of the input", "by keyword", "skip", "skip in place", "nowhere"],
)
def test_slopes_are_those_of_the_dropped_values_alone(forward, task):
    model = Calls(forward)
    expected = by_differences(model, task)
    assert explicit_penalty(model, X, task=task).item() == pytest.approx(expected, rel=1e-6)
    noise = implicit_noise(model, X, lambda output: output.square().mean())
    assert torch.isfinite(noise)


def by_differences(model, task):
    """The form from h ∂y/∂h, found by multiplying one unit's input after the other."""
    scale = torch.ones(6, dtype=torch.float64)

    def scaled(input):
        return input * scale[: input.shape[1]]

    drop, model.drop, step, total = model.drop, nn.Identity(), 1e-6, 0.0
    model.drop.forward = scaled
    with torch.no_grad():
        for unit in range(6):
            ends = []
            for by in (step, -step):
                scale[unit] = 1 + by
                ends.append(model(X))
            scale[unit] = 1
            slope, pi = (ends[0] - ends[1]) / (2 * step), model(X).softmax(1)
            if task == "regression":
                total += 2 * slope.square().sum().item()
            else:
                total += ((pi * slope.square()).sum(1) - (pi * slope).sum(1) ** 2).sum().item()
    model.drop = drop
    return 0.4 / 0.6 / 2 * total / len(X)


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
    expected = explicit_penalty(model, X, task="regression")
    assert torch.equal(explicit_penalty(squeezed, X, task="regression"), expected)


def test_dropout_that_is_not_called():
    model = nn.ModuleDict({"used": net(), "unused": nn.ModuleList([nn.Dropout(), Dropout()])})
    model.forward = model["used"].forward
    message = r"does not call unused\.0 \(Dropout\), unused\.1 \(Dropout\); remove unused"
    with pytest.raises(ValueError, match=message):
        explicit_penalty(model, X)
    assert model["unused"][0].training


def test_arguments():
    with pytest.raises(ValueError, match="task must be"):
        explicit_penalty(net(), X, task="ranking")
    with pytest.raises(ValueError, match="exact=False"):
        explicit_penalty(net(), X, task="regression", exact=False)
