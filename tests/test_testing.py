"""The contract accepts right layers and names what is wrong with broken ones."""

import random

import pytest
import torch
from torch import nn

from dropkit.noise import Dropout, GaussianDropout
from dropkit.testing import check_noise


class Plain(nn.Module):
    """Bernoulli dropout written plainly; every broken layer differs from it in one thing."""

    def __init__(self, p=0.4):
        super().__init__()
        self.p = p

    @property
    def variance(self):
        return self.p / (1 - self.p)

    def keep(self, x):
        return torch.rand(x.shape) >= self.p

    def apply_mask(self, x, keep):
        return torch.where(keep, x / (1 - self.p) if self.p < 1 else x, 0.0)

    def forward(self, x):
        return self.apply_mask(x, self.keep(x)) if self.training else x


@pytest.mark.parametrize("p", [0.01, 0.5, 0.99])
def test_accepts_a_plain_layer(p):
    check_noise(Plain(p))


def test_accepts_a_factory_and_other_shapes():
    check_noise(Plain, shape=(3, 5))


class Additive(nn.Module):
    def forward(self, x):
        if not self.training:
            return x
        return x + (0.5 * torch.randn(x.shape, dtype=torch.float64)).to(x.dtype)


def test_accepts_additive_noise_of_stated_variance():
    check_noise(Additive(), variance=lambda x: torch.full_like(x, 0.25))
    with pytest.raises(AssertionError, match="must state the variance"):
        check_noise(Additive())


@pytest.mark.parametrize(
    "layer",
    [
        Dropout(0.2),
        Dropout(0.5, shared_dims=(0,)),
        Dropout(0.5, shared_dims=(1, -1)),
        GaussianDropout(0.3),
    ],
    ids=repr,
)
def test_accepts_the_layers_of_dropkit(layer):
    check_noise(layer)


def test_leaves_the_layer_and_the_generator_alone():
    layer = Plain(0.3).eval()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    check_noise(layer)
    assert torch.equal(torch.get_rng_state(), before)
    assert not layer.training
    assert layer.p == 0.3


def test_the_verdict_depends_on_the_seed_alone():
    bound = {"z": 1.5}  # so tight that a right layer fails, somewhere
    messages = set()
    for _ in range(2):
        torch.rand(3)
        with pytest.raises(AssertionError, match="standard errors") as caught:
            check_noise(Plain(), **bound)
        messages.add(str(caught.value))
    assert len(messages) == 1


# Broken layers, each in one thing.


class Unscaled(Plain):
    @property
    def variance(self):
        return self.p * (1 - self.p)

    def apply_mask(self, x, keep):
        return torch.where(keep, x, 0.0)


class ScaledByTheDropProbability(Plain):
    def apply_mask(self, x, keep):
        return torch.where(keep, x / self.p, 0.0)


class WrongVariance(Plain):
    @property
    def variance(self):
        return self.p


class SlightlyWrongRate(Plain):
    def keep(self, x):
        return torch.rand(x.shape) >= self.p + 0.01


class SparesAnElement(Plain):
    def forward(self, x):
        y = super().forward(x).clone()
        if y.numel() > 5:
            y.view(-1)[5] = x.reshape(-1)[5]
        return y


class DropsInEval(Plain):
    def forward(self, x):
        return self.apply_mask(x, self.keep(x))


class ScalesInEval(Plain):
    def forward(self, x):
        return super().forward(x) if self.training else x * (1 - self.p)


class DrawsInEval(Plain):
    def forward(self, x):
        keep = self.keep(x)
        return self.apply_mask(x, keep) if self.training else x


class WithoutGradientInEval(Plain):
    def forward(self, x):
        return super().forward(x) if self.training else x.detach()


class UpcastsLowPrecision(Plain):
    def forward(self, x):
        return super().forward(x.float() if x.dtype is torch.bfloat16 else x)


class RoundsItsScaleInLowPrecision(Plain):
    def apply_mask(self, x, keep):
        if x.dtype is torch.float16:
            return torch.where(keep, x * 1.625, 0.0)
        return super().apply_mask(x, keep)


class ShiftsFloat64(Plain):
    def forward(self, x):
        shift = 0.05 * x if self.training and x.dtype is torch.float64 else 0.0
        return super().forward(x) + shift


class IgnoresTheSeed(Plain):
    def keep(self, x):
        generator = torch.Generator().manual_seed(random.getrandbits(60))
        return torch.rand(x.shape, generator=generator) >= self.p


class NeverDrawsAnew(Plain):
    """Draws from the seed alone, as if every call were the first."""

    def keep(self, x):
        if not hasattr(self, "first") or len(self.first) < x.numel():
            self.first = torch.rand(1000)
        return (self.first[: x.numel()] >= self.p).view(x.shape)


class Unpicklable(Plain):
    def __init__(self, p=0.4):
        super().__init__(p)
        self.function = lambda x: x


class LosesItsRateInPickle(Plain):
    def __deepcopy__(self, memo):
        return LosesItsRateInPickle(self.p)

    def __setstate__(self, state):
        super().__setstate__({**state, "p": 0.5})


class MaskDrawnAgain(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, layer):
        ctx.layer = layer
        return layer.apply_mask(x, layer.keep(x))

    @staticmethod
    def backward(ctx, gradient):
        return ctx.layer.apply_mask(gradient, ctx.layer.keep(gradient)), None


class DrawsAgainForTheGradient(Plain):
    def forward(self, x):
        return MaskDrawnAgain.apply(x, self) if self.training else x


class GradientPassedThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, layer):
        return layer.apply_mask(x, layer.keep(x))

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


class PassesTheGradientThrough(Plain):
    def forward(self, x):
        return GradientPassedThrough.apply(x, self) if self.training else x


class GradientDivided(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, layer):
        y = layer.apply_mask(x, layer.keep(x))
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, gradient):
        x, y = ctx.saved_tensors
        return gradient * y / x, None


class DividesInfinities(Plain):
    def forward(self, x):
        return GradientDivided.apply(x, self) if self.training else x


class MultipliesInfinity(Plain):
    def apply_mask(self, x, keep):
        return x * keep / (1 - self.p)


class FollowsMemory(Plain):
    def keep(self, x):
        return torch.rand_like(x) >= self.p


class FailsOnEmptyInput(Plain):
    def forward(self, x):
        x.max()
        return super().forward(x)


class NeverQuiteZero(Plain):
    def keep(self, x):
        return torch.rand(x.shape) >= max(self.p, 0.1)


class DividesZeroByZero(Plain):
    def apply_mask(self, x, keep):
        return torch.where(keep, x, 0.0) / (1 - self.p)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Unscaled, "mean: E"),
        (ScaledByTheDropProbability, "variance: Var"),
        (WrongVariance, "variance: Var"),
        (SlightlyWrongRate, "the mean of Var|mean: E"),
        (SparesAnElement, r"variance: Var.* at element 5"),
        (DropsInEval, "eval"),
        (ScalesInEval, "eval: the output must be the input"),
        (DrawsInEval, "eval: must draw no random numbers"),
        (WithoutGradientInEval, "eval: must let gradients through"),
        (UpcastsLowPrecision, r"output must be torch\.bfloat16|dtype must be torch\.bfloat16"),
        (RoundsItsScaleInLowPrecision, r"mean: E.*float16"),
        (ShiftsFloat64, r"mean: E.*float64"),
        (IgnoresTheSeed, "seed: equal seeds must give equal noise"),
        (NeverDrawsAnew, "variance: Var"),
        (Unpicklable, "copies: raised"),
        (LosesItsRateInPickle, "copies: a copy by pickle must draw the same"),
        (DrawsAgainForTheGradient, "gradient: must be that of the noise"),
        (PassesTheGradientThrough, "gradient: must be that of the noise"),
        (DividesInfinities, "infinite input: gradients must be finite"),
        (MultipliesInfinity, "infinite input: outputs must not be NaN"),
        (FollowsMemory, "layout: transposed memory"),
        (FailsOnEmptyInput, "empty input: raised"),
        (NeverQuiteZero, "p = 0: must be the identity"),
        (DividesZeroByZero, "p = 1: outputs must be zero"),
    ],
)
def test_names_what_is_broken(broken, check):
    with pytest.raises(AssertionError, match=rf"{broken.__name__}\(\), .*({check})"):
        check_noise(broken())
