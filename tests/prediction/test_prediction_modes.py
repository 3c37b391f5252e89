"""Training mode that does more than drop, code that no copy can follow, buffers, lazy layers."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropkit import doctor, insert, predict, sampling
from dropkit._twin import share
from dropkit.noise import Dropout
from dropkit.prediction._modes import check_modes

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


class Own(nn.Module):
    """Calls dropout by its own mode, before a batch normalization or a choice of outputs."""

    def __init__(self, more):
        super().__init__()
        self.first, self.last, self.more = nn.Linear(4, 8), nn.Linear(8, 3), more
        self.register_buffer("mean", torch.ones(8))
        self.register_buffer("variance", torch.ones(8))

    def forward(self, x):
        x = self.first(x)
        if self.more == "norm":
            x = x[..., None].expand(*x.shape, 3)  # so that one row has a variance
            x = F.batch_norm(x, self.mean, self.variance, training=self.training).mean(-1)
        x = self.last(F.dropout(x, 0.5, training=self.training))
        if self.more == "logits":
            return x if self.training else x.softmax(1)
        return x


class Attending(nn.Module):
    def forward(self, x):
        x = x[:, None, :, None]
        dropout_p = 0.5 if self.training else 0.0
        return F.scaled_dot_product_attention(x, x, x, dropout_p=dropout_p).flatten(1)


@pytest.mark.parametrize("more", ["norm", "logits"])
def test_a_mode_that_changes_more_than_dropout_is_named(more):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), Own(more))
    mean = model[1].mean.clone()
    with pytest.warns(UserWarning, match=r"more than their dropout: 1\. So") as caught:
        predict(model.eval(), X, 10, seed=0)
    assert caught[0].filename == __file__
    assert torch.equal(model[1].mean, mean)


@pytest.mark.filterwarnings("error")
def test_a_mode_that_only_drops_is_not_named():
    torch.manual_seed(0)
    for part in (Own(None), Attending(), Dropout(0.5), nn.TransformerEncoderLayer(4, 2, 8)):
        model = nn.Sequential(nn.Linear(4, 4), part).eval()
        assert predict(model, X, 10, seed=0).variance.any()


class Latent(nn.Module):
    """Drops its input, and adds noise in training only, as variational autoencoders do."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(4, 4)

    def forward(self, x):
        mean = self.encode(F.dropout(x, 0.5, training=self.training))
        if self.training:
            return mean + torch.randn_like(mean)
        return mean


def test_noise_of_the_model_itself_is_named():
    with pytest.warns(UserWarning, match=r"more than their dropout: the model\. So"):
        predict(Latent(), X, 10, seed=0)


class Noisy(nn.Module):
    """Multiplies its units by normal noise, as dropout does with other numbers."""

    def forward(self, x):
        use_dropout = self.training
        return x * (1 + torch.randn_like(x)) if use_dropout else x


class AlwaysOn(nn.Module):
    def forward(self, x):
        x = x[:, None, :, None]
        return F.scaled_dot_product_attention(x, x, x, dropout_p=0.5).flatten(1)


class OnInBoth(nn.Module):
    def forward(self, x):
        return F.dropout(F.dropout(x, 0.5), 0.5, training=self.training)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [Noisy, OnInBoth, AlwaysOn])
def test_dropout_that_is_on_in_evaluation_is_no_other_mode(kind):
    model = nn.Sequential(nn.Linear(4, 4), kind()).eval()
    assert predict(model, X, 10, seed=0).variance.any()


class Closed(nn.Module):
    """Holds functions or an object that call its layers."""

    def __init__(self, by):
        super().__init__()
        self.linear, self.drop, self.out = nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 1)
        self.other = nn.Dropout(0.1)
        drop = self.drop
        self.holder = SimpleNamespace(block=self.drop) if by == "object" else None
        if by == "hook":
            self.linear.register_forward_hook(lambda module, x, y: drop(y))
        self.block = (lambda x: self.drop(self.linear(x))) if by == "attribute" else self.linear

    def forward(self, x):
        x = self.block(x)
        return self.out(self.other(x if self.holder is None else self.holder.block(x)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("by", ["attribute", "hook", "object"])
def test_dropout_called_from_a_closure_or_an_object_takes_part(by):
    torch.manual_seed(0)
    model = Closed(by).eval()
    if by == "object":
        with pytest.raises(TypeError, match="holds modules"):
            share(model)
    else:
        share(model)
    found = predict(model, X, 2000, seed=0).variance
    with sampling(model):
        expected = torch.stack([model(X) for _ in range(2000)]).var(0)
    torch.testing.assert_close(found, expected, rtol=0.3, atol=0)
    assert not any(module.training for module in model.modules())


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x


def test_buffers_stay_as_they_are():
    model = nn.Sequential(Counting(), nn.Dropout(0.5), nn.Linear(4, 1)).eval()
    predict(model, X, 10)
    assert model[0].calls == 0


def test_lazy_layers():
    model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(2))
    model, _ = insert(model, Dropout(0.5))
    state = torch.get_rng_state()
    assert doctor(model, X).healthy
    assert torch.equal(state, torch.get_rng_state())
    with pytest.raises(ValueError, match="must be initialized, but it has lazy layers"):
        predict(model.eval(), X, 10)
    model(X)
    assert predict(model, X, 10).variance.all()


class CountsInTraining(nn.Module):
    """Calls dropout by its own mode, and counts its calls in training."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += self.training
        return F.dropout(x, 0.5, self.training)


@pytest.mark.filterwarnings("error")
def test_buffers_are_restored_also_without_a_warning():
    net = CountsInTraining().eval()
    check_modes({"": net}, lambda: net(X), [net.calls])
    assert net.calls == 0
