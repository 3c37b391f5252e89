"""The twin of a network: exact where it says so, near where it says so, and loud elsewhere."""

import itertools
import math
import pickle
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropkit.analytic._moments import (
    Gaussian,
    class_probabilities,
    expected_cross_entropy,
    expected_squared_error,
    moments,
)
from dropkit.noise import DropConnect, Dropout, Dropout2d, GaussianDropout
from dropkit.prediction._sampling import sampling
from dropkit.surgery import insert


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def mlp(p=0.5, *, last=3, activation=nn.ReLU, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(4, 6), activation(), nn.Dropout(p), nn.Linear(6, 5), activation(),
        Dropout(p), nn.Linear(5, last),
    ).double()  # fmt: skip


class Fixed(nn.Module):
    """In the place of a dropout layer, a mask that is set from outside."""

    def forward(self, x):
        return x * self.mask


def enumerated(layers, x, p, units):
    """Mean and variance over all masks of all places, given as the sizes of their masks."""
    places = [layer for layer in layers if isinstance(layer, Fixed)]
    outputs, chances = [], []
    for kept in itertools.product([0.0, 1.0], repeat=sum(units)):
        masks = torch.tensor(kept, dtype=torch.float64).div(1 - p).split(units)
        for place, mask in zip(places, masks, strict=True):
            place.mask = mask
        outputs.append(layers(x).detach())
        chances.append(math.prod(1 - p if k else p for k in kept))
    chance = torch.tensor(chances, dtype=torch.float64)
    mean = torch.tensordot(chance, torch.stack(outputs), 1)
    return Gaussian(mean, torch.tensordot(chance, (torch.stack(outputs) - mean).square(), 1))


@pytest.mark.parametrize("layer", [nn.Dropout, Dropout])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.8])
def test_dropout_before_a_linear_layer_is_exact(layer, p):
    torch.manual_seed(0)
    last, x = nn.Linear(6, 3).double(), normal(2, 6)
    found = moments(nn.Sequential(layer(p), last))(x)
    torch.testing.assert_close(found, enumerated(nn.Sequential(Fixed(), last), x, p, [6]))


def test_two_dropouts_are_exact_while_the_units_stay_independent():
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(5).double().eval()
    norm.running_var.uniform_(0.5, 2)
    last, x, p = nn.Linear(5, 2).double(), normal(2, 5), 0.3
    found = moments(nn.Sequential(nn.Dropout(p), norm, Dropout(p), last))(x)
    exact = enumerated(nn.Sequential(Fixed(), norm, Fixed(), last), x, p, [5, 5])
    torch.testing.assert_close(found, exact)


def test_a_dropped_deep_network_over_all_masks():
    """Six and five units are far from a normal sum; the mean stays near beside the spread."""
    x = normal(8, 4, seed=1)
    for p, mean_off in ((0.1, 0.2), (0.5, 0.1)):
        model = mlp(p)
        fixed = nn.Sequential(*(Fixed() if "Dropout" in str(layer) else layer for layer in model))
        exact, found = enumerated(fixed, x, p, [6, 5]), moments(model)(x)
        assert ((found.mean - exact.mean).abs() < mean_off * exact.variance.sqrt()).all()
        # Units that share what was dropped are correlated, which the twin leaves out.
        ratio = found.variance / exact.variance
        assert 0.5 < ratio.min() < ratio.max() < 2
        assert 0.75 < ratio.median() < 1.1


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.Sigmoid, nn.Tanh])
def test_normal_inputs_of_an_activation_are_met_exactly(activation):
    """Gaussian dropout makes each pre-activation normal, so that only the samples are off."""
    torch.manual_seed(0)
    model = nn.Sequential(GaussianDropout(0.4), nn.Linear(30, 8), activation()).double()
    with torch.no_grad():
        model[1].weight *= 4
    x, count = normal(1, 30), 100_000
    with sampling(model), torch.no_grad():
        samples = model(x.expand(count, -1))
    mean, variance = moments(model)(x)
    apart = samples - samples.mean(0)
    error = (apart.square().mean(0) / count).sqrt()
    assert (((mean - samples.mean(0)) / error).abs() < 4.5).all()
    error = ((apart.pow(4).mean(0) - apart.square().mean(0) ** 2) / count).sqrt()
    assert (((variance - samples.var(0)) / error).abs() < 4.5).all()


def test_wide_layers_against_samples():
    """Many units: sums are nearly normal; the mean's bound is that of 50 samples."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Dropout(0.2), nn.Linear(100, 200), nn.ReLU(), nn.Dropout(0.5), nn.Linear(200, 5)
    )
    x = normal(4, 100, dtype=torch.float32)
    with sampling(model), torch.no_grad():
        samples = torch.stack([model(x) for _ in range(2000)])
        mean, variance = moments(model)(x)
    deviation = samples.std(0)
    assert ((mean - samples.mean(0)).abs() < 3 / math.sqrt(50) * deviation).all()
    assert ((variance / deviation.square()).log().abs() < math.log(1.4)).all()


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
        self.drop, self.norm = nn.Dropout(0.3), nn.BatchNorm2d(2)

    def forward(self, x):
        x = x + self.norm(self.second(self.drop(F.relu(self.first(x)))))
        return F.relu(x)


class Scale(nn.Module):  # no children: a step to the tracer
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return self.factor * x + 0.1


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Residual(), nn.MaxPool2d(2), Residual())
        self.scale, self.last = Scale(), nn.Linear(16, 3)

    def forward(self, x):
        x = self.scale(self.blocks(x))
        x = torch.cat([F.adaptive_avg_pool2d(x, 2), F.avg_pool2d(x, 2)], dim=1)
        x = F.dropout(x.view(x.size(0), -1), 0.2, training=self.training)
        return self.last(x)


def test_a_residual_network_with_functions_against_samples():
    torch.manual_seed(0)
    model, x = Images().double().eval(), normal(3, 2, 8, 8)
    with sampling(model), torch.no_grad():
        samples = torch.stack([model(x) for _ in range(3000)])
    mean, variance = moments(model)(x)
    assert ((mean - samples.mean(0)).abs() < 0.2 * samples.std(0)).all()
    ratio = variance / samples.var(0)
    assert 0.7 < ratio.min() < ratio.max() < 1.2


def test_functions_and_layers_are_the_same():
    class Functions(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 6), nn.Linear(3, 2)

        def forward(self, x):
            x = F.gelu(self.first(F.dropout(x, 0.3, self.training)))
            x = F.max_pool1d(x.unsqueeze(1), 2).squeeze(1)
            return torch.softmax(F.linear(x.sigmoid(), self.last.weight, self.last.bias), -1)

    a = Functions().double()
    b = nn.Sequential(
        nn.Dropout(0.3), a.first, nn.GELU(), nn.Unflatten(1, (1, 6)), nn.MaxPool1d(2),
        nn.Flatten(), nn.Sigmoid(), a.last, nn.Softmax(1),
    )  # fmt: skip
    torch.testing.assert_close(moments(a.eval())(normal(5, 4)), moments(b)(normal(5, 4)))


def test_dropout_that_surgery_put_behind_a_layer():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    model, _ = insert(plain, nn.Dropout(0.4))
    by_hand = nn.Sequential(plain[0], plain[1], nn.Dropout(0.4), plain[2])
    torch.testing.assert_close(moments(model)(normal(3, 4)), moments(by_hand)(normal(3, 4)))


def test_any_layer_may_stand_before_the_first_dropout():
    torch.manual_seed(0)
    front = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.BatchNorm1d(6), nn.SiLU())
    model = nn.Sequential(front, nn.Dropout(0.5), nn.Linear(6, 2)).double().train()
    x, before = normal(5, 4), model[0][2].running_mean.clone()
    found = moments(model)(x)
    assert torch.equal(before, model[0][2].running_mean)  # it is in evaluation
    torch.testing.assert_close(found, moments(model[1:])(front.eval()(x)))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.Sigmoid, nn.Tanh])
def test_without_noise_it_is_the_model_and_its_gradient(activation):
    model, x = mlp(0.0, activation=activation), normal(5, 4)
    target = torch.tensor([0, 1, 2, 1, 0])
    mean, variance = moments(model)(x)
    torch.testing.assert_close(mean, model(x))
    assert not variance.any()
    loss = expected_cross_entropy(Gaussian(mean, variance), target)
    plain = F.cross_entropy(model(x), target)
    torch.testing.assert_close(loss, plain)
    weights = list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(loss, weights), torch.autograd.grad(plain, weights)
    )


def test_everything_dropped_is_certain():
    model = nn.Sequential(nn.Dropout(1.0), nn.Linear(4, 2))
    mean, variance = moments(model)(torch.ones(1, 4))
    assert torch.equal(mean, model[1].bias[None])
    assert not variance.any()


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.Sigmoid, nn.Tanh])
def test_gradients_of_the_expected_losses(activation):
    model, x = mlp(0.4, activation=activation), normal(3, 4)
    twin, target, y = moments(model), torch.tensor([0, 1, 2]), normal(3, 3, seed=2)

    def losses(weight):
        output = torch.func.functional_call(twin, {"model.3.weight": weight}, x)
        return expected_cross_entropy(output, target), expected_squared_error(output, y)

    assert torch.autograd.gradcheck(losses, model[3].weight.detach().clone().requires_grad_())


def test_expected_losses_against_all_masks():
    """Dropout before the last layer: the squared error is exact, the cross entropy near."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(0.4), nn.Linear(8, 3)).double()
    fixed, x, y = nn.Sequential(Fixed(), model[1]), normal(6, 8), normal(6, 3, seed=3)

    def over_masks(loss):
        class Loss(nn.Sequential):
            def forward(self, x):
                return loss(fixed(x))

        return enumerated(Loss(*fixed), x, 0.4, [8]).mean

    output = moments(model)(x)
    exact = over_masks(lambda f: F.mse_loss(f, y))
    torch.testing.assert_close(expected_squared_error(output, y), exact)
    target = torch.tensor([0, 1, 2, 2, 1, 0])
    exact = over_masks(lambda f: F.cross_entropy(f, target))
    plain = F.cross_entropy(model.eval()(x), target)
    # Logits that rise together change no probability, but count as if they were independent.
    assert 1 < (expected_cross_entropy(output, target) - plain) / (exact - plain) < 1.6


def test_training_the_twin_trains_the_model():
    model, x = mlp(0.3), normal(64, 4)
    target = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    twin = moments(model)
    assert [id(p) for p in twin.parameters()] == [id(p) for p in model.parameters()]
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        expected_cross_entropy(twin(x), target).backward()
        optimizer.step()
    assert (model.eval()(x).argmax(1) == target).double().mean() > 0.9


def test_rates_are_read_at_each_call():
    model, x = nn.Sequential(Dropout(0.2), nn.Linear(4, 2)).double(), normal(3, 4)
    twin = moments(model)
    low = twin(x).variance
    model[0].p = 0.5
    torch.testing.assert_close(twin(x).variance, 4 * low)


@pytest.mark.parametrize("training", [True, False])
def test_modes_and_random_numbers_are_left_alone(training):
    model = mlp().train(training)
    model[2].eval()
    before, modes = torch.get_rng_state(), [m.training for m in model.modules()]
    twin = moments(model)
    assert torch.equal(twin(normal(2, 4)).variance, moments(model.train())(normal(2, 4)).variance)
    for module, mode in zip(model.modules(), modes, strict=True):
        module.training = mode
    with pytest.raises(RuntimeError):
        twin(normal(2, 5))
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(before, torch.get_rng_state())


def test_constants_of_the_forward_pass_stay_out_of_the_model():
    model = Then(lambda x: x + torch.ones(4))
    before = set(vars(model))
    torch.testing.assert_close(moments(model)(torch.zeros(2, 4)).mean, torch.ones(2, 4))
    assert set(vars(model)) == before


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop, self.linear = nn.Dropout(0.3), nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(self.drop(x))


@pytest.mark.parametrize("make", [Block, lambda: nn.Sequential(Block())])
def test_a_layer_after_the_whole_model_counts(make):
    model, x = make().double(), normal(3, 4)
    chain = nn.Sequential(model, Dropout(0.5))
    after, _ = insert(model, Dropout(0.5), after="")
    for ours, theirs in zip(moments(after)(x), moments(chain)(x), strict=True):
        torch.testing.assert_close(ours, theirs)


class Gated(nn.Module):
    """Calls dropout in training alone, as a layer and as a function."""

    def __init__(self, otherwise=lambda x: x):
        super().__init__()
        self.drop, self.linear = nn.Dropout(0.3), nn.Linear(4, 2)
        self.otherwise = otherwise

    def forward(self, x):
        x = F.dropout(self.drop(x), 0.2) if self.training else self.otherwise(x)
        return self.linear(x)


def test_dropout_may_be_called_in_training_alone():
    model, x = Gated().double(), normal(3, 4)
    chain = nn.Sequential(nn.Dropout(0.3), nn.Dropout(0.2), model.linear)
    for ours, theirs in zip(moments(model.eval())(x), moments(chain)(x), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_copy_stands_for_its_own_layers():
    twin, x = moments(mlp()), normal(2, 4)
    for other in (deepcopy(twin), pickle.loads(pickle.dumps(twin))):
        before = twin(x).mean
        torch.testing.assert_close(other(x).mean, before)
        with torch.no_grad():
            other.model[6].bias += 1
        assert torch.equal(twin(x).mean, before)
        torch.testing.assert_close(other(x).mean, before + 1)


class Then(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.drop, self.f = nn.Dropout(0.5), f

    def forward(self, x):
        return self.f(self.drop(x))


class AddOne(nn.Module):
    def forward(self, x):
        return x + 1.0


def hooked():
    layer = nn.Linear(4, 2)
    layer.register_forward_hook(lambda *_: None)
    return layer


def noisy(x):
    return x + torch.randn(4)


def watched():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2))
    model.register_forward_hook(lambda module, inputs, output: 10 * output)
    return model


def patched():
    layer = nn.Linear(4, 2)
    layer.forward = lambda x: 2 * x
    return layer


class Sums(nn.Module):
    def forward(self, parts):
        return sum(parts)


class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop, self.sums, self.linear = nn.Dropout(0.5), Sums(), nn.Linear(4, 4)

    def forward(self, x):
        return self.sums([self.drop(x), self.linear(x)])


def view_in_place(x):
    x.view(-1).relu_()
    return x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (watched(), r"^the model \(Sequential\) has forward hooks"),
        (nn.Sequential(nn.Dropout(0.1), patched()), r"1 \(Linear\) has no rule"),
        (Gated(torch.tanh), r"equal in training and evaluation .* linear\(%0\) and tanh\(%0\)"),
        (nn.Sequential(Gated(torch.tanh)), "equal in training and evaluation"),
        (Then(view_in_place), "'relu_' .* changes a value that is also used"),
        (Sum(), r"sums \(Sums\) must be called with tensors, by position, in no list"),
        (nn.Sequential(nn.Dropout(0.1), nn.Softmax()), r"1 \(Softmax\) .* pass dim"),
        (Then(F.softmax), r"'softmax' .* must have an explicit dimension"),
        (Then(lambda x: torch.div(x, 2.0, rounding_mode="floor")), "'div' .*'rounding_mode'"),
        (nn.Sequential(DropConnect(nn.Linear(4, 2))), r"0 \(DropConnect\) draws"),
        (
            nn.Sequential(nn.FractionalMaxPool2d(2, 2), nn.Dropout(0.1)),
            r"0 \(FractionalMaxPool2d\) draws",
        ),
        (nn.Sequential(nn.Linear(4, 2)), "has no dropout"),
        (nn.Sequential(nn.Dropout(0.1), nn.LayerNorm(4)), r"1 \(LayerNorm\) has no rule"),
        (nn.Sequential(nn.Sequential(nn.Dropout2d(0.1))), r"0.0 \(Dropout2d\) draws"),
        (nn.Sequential(Dropout2d(0.1)), r"0 \(Dropout2d\) draws"),
        (nn.Sequential(nn.AlphaDropout(0.1)), "AlphaDropout"),
        (nn.Sequential(Dropout(0.1, shared_dims=(-1,))), "shares its mask"),
        (nn.Sequential(nn.LSTM(4, 4, 2, dropout=0.1), nn.Dropout(0.1)), r"0 \(LSTM\) draws"),
        (nn.TransformerEncoderLayer(4, 2), "TransformerEncoderLayer"),
        (nn.Sequential(nn.Dropout(0.1), hooked()), r"1 \(Linear\) has forward hooks"),
        (
            nn.Sequential(nn.Dropout(0.1), nn.Conv1d(1, 1, 3, padding_mode="circular")),
            r"1 \(Conv1d\) must have padding_mode='zeros'",
        ),
        (nn.Sequential(nn.Dropout(0.1), nn.MaxPool1d(2, return_indices=True)), "return_indices"),
        (
            nn.Sequential(nn.Dropout(0.1), nn.BatchNorm1d(4, track_running_stats=False)),
            r"1 \(BatchNorm1d\) must have running statistics",
        ),
        (Then(torch.exp), "'exp' in the forward pass"),
        (nn.Sequential(Then(torch.exp)), r"'exp' in the forward pass of .*Sequential"),
        (Then(lambda x: x + x), "same random value twice"),
        (Then(lambda x: x * x), "same random value twice"),
        (Then(lambda x: x * x.sigmoid()), "combines random values"),
        (Then(lambda x: 1 / x), "first argument"),
        (Then(lambda x: x.add_(1) + x), "'add_' .* changes a value that is also used"),
        (Then(lambda x: F.relu(x, inplace=True) + x), "changes a value that is also used"),
        (Then(lambda x: (x, x)), "must return one tensor"),
        (Then(noisy), "draws random numbers itself"),
        (Then(lambda x: x + torch.rand_like(x)), "'rand_like'"),
        (Then(lambda x: x if x.sum() > 0 else -x), "branch on values"),
        (Then(lambda x: F.scaled_dot_product_attention(x, x, x)), "scaled_dot_product_attention"),
    ],
)
def test_what_has_no_rule_is_refused_when_the_twin_is_made(model, message):
    with pytest.raises(ValueError, match=message):
        moments(model)


def test_ways_to_call_a_function():
    x = normal(3, 4)
    same = moments(Then(lambda x: x + 1.0))(x)
    for f in (
        lambda x: torch.add(x, other=1.0),
        lambda x: (x + 1.0).view(x.size(dim=0), 4),
        nn.Sequential(nn.Sequential(), AddOne()),
    ):
        for ours, theirs in zip(moments(Then(f))(x), same, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_arguments():
    twin = moments(Then(torch.neg))
    with pytest.raises(TypeError, match=r"^Then\.forward\(\): missing a required argument: 'x'"):
        twin()
    with pytest.raises(TypeError, match=r"^Then\.forward\(\): too many positional arguments"):
        twin(torch.ones(2, 4), torch.ones(2, 4))
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module"):
        moments(torch.relu)
    one = Gaussian(torch.zeros(3, 1), torch.zeros(3, 1))
    with pytest.raises(ValueError, match="two classes or more"):
        class_probabilities(one)
    with pytest.raises(ValueError, match="two classes or more"):
        expected_cross_entropy(one, torch.zeros(3).long())
    two = Gaussian(torch.zeros(3, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"target \(rows,\)"):
        expected_cross_entropy(two, torch.zeros(3, 2))
    with pytest.raises(ValueError, match="shape of the output"):
        expected_squared_error(two, torch.zeros(3))


class Optional(nn.Module):
    """What follows the dropout depends on whether a gate is given."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.drop, self.b = nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 2)

    def forward(self, x, gate=None, twice=True):
        h = self.drop(self.a(x))
        h = 3 * h if gate is None else h * gate
        return self.b(2 * h if twice else h)


def test_arguments_that_are_left_out_have_their_defaults():
    net, x = Optional().double().eval(), normal(5, 4)
    twin = moments(net)
    assert torch.allclose(twin(x).mean, net(x))
    assert torch.allclose(twin(x, torch.tensor(0.5)).mean, net(x, torch.tensor(0.5)))
