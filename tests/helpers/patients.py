"""Small models for the doctor: each with one planted fault, or none."""

import random

import torch
import torch.nn.functional as F
from torch import nn

from dropkit import noise
from dropkit._doctor import doctor
from dropkit.functional import dropout

X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
STEPS = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(2))
TOKENS = torch.randint(12, (4, 5), generator=torch.Generator().manual_seed(3))


def find(model, example, check, **options):
    """The one finding of a check."""
    (found,) = [f for f in doctor(model, example, **options).findings if f.check == check]
    return found


def mlp(*after):
    """6 → 16 → ReLU → ``after`` → 3."""
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), *after, nn.Linear(16, 3))


class Around(nn.Module):
    """A network with something in its middle, and a forward pass that cannot be traced."""

    def __init__(self, middle):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(6, 16), middle, nn.Linear(16, 3)

    def forward(self, x):
        x = self.first(x)
        if x.sum() > 1e9:  # depends on values
            raise AssertionError
        return self.last(self.middle(x.relu()))


class Functional(nn.Module):
    """Dropout as a function, its mode as the class says."""

    always = False

    def forward(self, x):
        return F.dropout(x, 0.5, training=self.training or self.always)


class Always(Functional):
    always = True


class FunctionalDropkit(nn.Module):
    def forward(self, x):
        return dropout(x, 0.5)


class Attention(nn.Module):
    def __init__(self, always):
        super().__init__()
        self.p, self.always = 0.5, always

    def forward(self, x):
        rows = x[:, None]
        dropout_p = self.p if self.training or self.always else 0.0
        return F.scaled_dot_product_attention(rows, rows, rows, dropout_p=dropout_p)[:, 0] + x


class Stubborn(nn.Sequential):
    """Forgets its children when the mode changes."""

    def train(self, mode=True):
        self.training = mode
        return self


class Noisy(nn.Module):
    def forward(self, x):
        return x + 0.1 * torch.randn_like(x)


class PythonNoise(nn.Module):
    def forward(self, x):
        return x * random.random()


class Counter(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


class CountingParent(nn.Module):
    """Changes what it hands to its child."""

    def __init__(self):
        super().__init__()
        self.calls, self.fc = 0, nn.Linear(16, 16)

    def forward(self, x):
        self.calls += 1
        return self.fc(x * self.calls)


class Doubling(nn.Module):
    """Works in place, on the model's input if it comes first."""

    def forward(self, x):
        return x.mul_(2)


class ToProcessor(nn.Module):
    """Returns its input itself."""

    def forward(self, x):
        return x.cpu()


class Residual(nn.Module):
    def __init__(self, *branch):
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x):
        return self.branch(x) + x


class ResidualInPlace(Residual):
    def forward(self, x):
        y = self.branch(x)
        y += x
        return y


class Reseeding(nn.Module):
    def forward(self, x):
        torch.manual_seed(0)
        return F.dropout(x, 0.5, training=self.training)


class OwnGeneratorDropout(nn.Module):
    """Dropout from a generator of its own, seeded anew at every call if asked for."""

    def __init__(self, anew):
        super().__init__()
        self.generator, self.anew = torch.Generator().manual_seed(0), anew

    def forward(self, x):
        if self.training:
            if self.anew:
                self.generator.manual_seed(0)
            mask = torch.bernoulli(torch.full(x.shape, 0.5), generator=self.generator)
            x = x * mask * 2
        return x


class FixedMaskDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mask", (torch.arange(16) % 2).float() * 2)

    def forward(self, x):
        return x * self.mask if self.training else x


class FixedSeed(nn.Module):
    def forward(self, x):
        return dropout(x, 0.5, self.training, seed=7)


class Hidden(nn.Module):
    """Drops in training, which its code does not show."""

    def forward(self, x):
        on = self.training
        return x * torch.bernoulli(torch.full_like(x, 0.5)) * 2 if on else x


class Auxiliary(nn.Module):
    """Has a second head, which only training runs, and whose dropout the prediction never sees."""

    def __init__(self, *after, noise=0.0):
        super().__init__()
        self.body, self.noise = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), *after), noise
        self.last = nn.Linear(16, 3)
        self.head = nn.Sequential(nn.Linear(16, 16), nn.Dropout(0.7), nn.Linear(16, 3))

    def forward(self, x):
        x = self.body(x)
        if self.training:
            x = x + self.noise * torch.randn_like(x)
        y = self.last(x)
        return (y, self.head(x)) if self.training else y


class OnlyInTraining(nn.Module):
    """Calls a layer in training only."""

    def __init__(self, layer):
        super().__init__()
        self.first, self.layer, self.last = nn.Linear(6, 6), layer, nn.Linear(6, 3)

    def forward(self, x):
        x = self.first(x)
        if self.training:
            x = self.layer(x)
        return self.last(x)


class AlwaysDropout(nn.Dropout):
    """A layer that drops whatever its mode."""

    def forward(self, x):
        return F.dropout(x, self.p, training=True)


class Listed(nn.Module):
    """Keeps layers in a plain list, where no mode reaches them."""

    def __init__(self, *layers):
        super().__init__()
        self.layers, self.last = list(layers), nn.Linear(6, 3)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.last(x)


class ListedAround(Listed):
    """Keeps a submodule, which a module in a plain list calls."""

    def __init__(self, inner):
        super().__init__(nn.Sequential(inner))
        self.inner = inner


class Forgotten(nn.Module):
    """Has dropout that it does not call."""

    def __init__(self):
        super().__init__()
        self.body, self.drop = mlp(), nn.Dropout(0.5)

    def forward(self, x):
        return self.body(x)


class Unused(Forgotten):
    """Calls dropout and throws the result away."""

    def forward(self, x):
        self.drop(x)
        return self.body(x)


class LayerDrop(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))
        self.unused = nn.Linear(6, 6)

    def forward(self, x):
        for block in self.blocks:
            if self.training and torch.rand(1) < 0.3:
                continue
            x = x + block(x)
        return x


class Block(nn.Module):
    """A residual block with batch normalization, and drop-path."""

    def __init__(self, p):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
        )
        self.drop_path = noise.DropPath(p)

    def forward(self, x):
        return (x + self.drop_path(self.body(x))).relu()


class Language(nn.Module):
    """An LSTM language model with every dropout that they have."""

    def __init__(self):
        super().__init__()
        self.words = noise.WordDropout(0.1, unknown=0)
        self.embed = noise.EmbeddingDropout(nn.Embedding(12, 6), 0.1)
        self.locked = noise.LockedDropout(0.3, batch_first=True)
        self.rnn = noise.WeightDrop(nn.LSTM(6, 7, 2, dropout=0.2, batch_first=True), 0.3)
        self.out = nn.Linear(7, 12)

    def forward(self, tokens):
        hidden, _ = self.rnn(self.locked(self.embed(self.words(tokens))))
        return self.out(self.locked(hidden))


class Recurrent(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.rnn, self.out = nn.LSTM(6, 7, layers, dropout=0.3), nn.Linear(7, 2)

    def forward(self, x):
        return self.out(self.rnn(x)[0])


def transformer(p=0.1):
    layer = nn.TransformerEncoderLayer(6, 2, 12, dropout=p)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def cnn():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8),
        nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip


def resnet(rates=(0.0, 0.25, 0.5)):
    blocks = [Block(p) for p in rates]
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )


def vision_transformer():
    """Dropout, then drop-path, as is common."""
    branch = nn.Sequential(
        nn.LayerNorm(6), nn.Linear(6, 12), nn.GELU(), nn.Dropout(0.1), nn.Linear(12, 6),
        nn.Dropout(0.1),
    )  # fmt: skip
    return nn.Sequential(Residual(*branch, noise.DropPath(0.2)), nn.LayerNorm(6), nn.Linear(6, 3))


def constrained(dim):
    """Weights after a projection of their vectors along ``dim``."""
    net = mlp(nn.Dropout(0.5))
    with torch.no_grad():
        for layer in (net[0], net[3]):
            norms = layer.weight.norm(dim=dim, keepdim=True)
            c = float(norms.median()) * 0.9
            layer.weight.mul_((c / norms).clamp(max=1))
    return net


def orthogonal():
    net = mlp(nn.Dropout(0.5))
    nn.init.orthogonal_(net[0].weight)
    return net


def normalized():
    """Columns of norm 1, as the decoder of a sparse autoencoder has."""
    net = mlp(nn.Dropout(0.5))
    with torch.no_grad():
        net[3].weight.div_(net[3].weight.norm(dim=0))
    return net


def constant():
    net = mlp(nn.Dropout(0.5))
    nn.init.constant_(net[0].weight, 0.1)
    return net


def equal_weights(outputs):
    net = mlp(nn.Dropout(0.5))
    net[-1] = nn.Linear(net[-1].in_features, outputs)
    nn.init.constant_(net[-1].weight, 0.125)
    return net


def wrong_axis_conv():
    net = cnn()
    with torch.no_grad():
        net[3].weight.copy_(net[3].weight.renorm(2, 1, 0.3))
    return net


def functional_transformer():
    net = transformer()
    net.layers[1].dropout = Always()
    return net


class StochasticDepth(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x):
        if self.training and random.random() < 0.5:
            return x
        return x + self.fc(x)


#: name: (make the model, example, {(check, path)})
PATIENTS = {
    "plain": (mlp, X, set()),
    "dropout": (lambda: mlp(nn.Dropout(0.5)), X, set()),
    "untraceable": (lambda: Around(nn.Dropout(0.5)), X, set()),
    "functional": (lambda: Around(Functional()), X, set()),
    "CNN": (cnn, IMAGES, set()),
    "ResNet with drop-path": (resnet, IMAGES, set()),
    "TransformerEncoder": (transformer, STEPS, set()),
    "vision transformer": (vision_transformer, X, set()),
    "residual output": (
        lambda: Residual(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 6), nn.Dropout(0.1)),
        X,
        set(),
    ),
    "residual output in place": (
        lambda: ResidualInPlace(nn.Linear(6, 6), nn.Dropout(0.1)),
        X,
        set(),
    ),
    "drop-path before batch norm": (
        lambda: nn.Sequential(Residual(noise.DropPath(0.5)), nn.BatchNorm1d(6), nn.Linear(6, 3)),
        X.repeat(50, 1),
        set(),
    ),
    "constant weights": (constant, X, set()),
    "transformer without dropout": (lambda: transformer(0.0), STEPS, set()),
    "rare drop-path": (
        lambda: nn.Sequential(noise.StochasticDepth(nn.Linear(6, 6), 0.05), nn.Linear(6, 3)),
        X[:2],
        set(),
    ),
    "in place": (lambda: nn.Sequential(Doubling(), *mlp(nn.Dropout(0.5))), X, set()),
    "LSTM": (lambda: Recurrent(2), STEPS, set()),
    "language model": (Language, TOKENS, set()),
    "Gaussian": (lambda: mlp(noise.GaussianDropout(0.3)), X, set()),
    "Gaussian noise": (lambda: mlp(noise.GaussianNoise(0.3)), X, set()),
    "DropConnect": (
        lambda: nn.Sequential(noise.DropConnect(nn.Linear(6, 9), 0.5), nn.ReLU(), nn.Linear(9, 3)),
        X,
        set(),
    ),
    "DropBlock": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.ReLU(),
            noise.DropBlock2d(0.1, 3),
            nn.Flatten(),
            nn.Linear(288, 10),
        ),
        IMAGES,
        set(),
    ),
    "channels": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.ReLU(),
            noise.Dropout2d(0.2),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(72, 10),
        ),
        IMAGES,
        set(),
    ),
    "self-normalizing": (
        lambda: nn.Sequential(
            nn.Linear(6, 16),
            nn.SELU(),
            noise.AlphaDropout(0.1),
            nn.Linear(16, 16),
            nn.SELU(),
            nn.AlphaDropout(0.1),
            nn.Linear(16, 3),
        ),
        X,
        set(),
    ),
    "attention": (lambda: nn.Sequential(Attention(False), nn.Linear(6, 3)), X, set()),
    "own generator": (lambda: mlp(OwnGeneratorDropout(False)), X, set()),
    "auxiliary head": (lambda: Auxiliary(nn.Dropout(0.5)), X, set()),
    "auxiliary head with the only dropout": (Auxiliary, X, set()),
    "auxiliary head beside other noise of training": (
        lambda: Auxiliary(nn.Dropout(0.5), noise=0.1),
        X,
        set(),
    ),
    "auxiliary head beside a generator of its own": (
        lambda: Auxiliary(OwnGeneratorDropout(False)),
        X,
        set(),
    ),
    "before batch norm that keeps no statistics": (
        lambda: mlp(nn.Dropout(0.5), nn.BatchNorm1d(16, track_running_stats=False)),
        X,
        set(),
    ),
    "max-norm": (lambda: constrained(1), X, set()),
    "orthogonal": (orthogonal, X, set()),
    "normalized": (normalized, X, set()),
    # Faults
    "functional, always": (
        lambda: Around(nn.Sequential(nn.Linear(16, 16), Always())),
        X,
        {("functional-dropout", "middle.1")},
    ),
    "functional of dropkit, always": (
        lambda: mlp(FunctionalDropkit()),
        X,
        {("functional-dropout", "2")},
    ),
    "functional inside a transformer": (
        functional_transformer,
        STEPS,
        {("functional-dropout", "layers.1.dropout")},
    ),
    "attention, always": (
        lambda: nn.Sequential(nn.Linear(6, 6), Attention(True), nn.Linear(6, 3)),
        X,
        {("attention-dropout", "1")},
    ),
    "mode that stops halfway": (
        lambda: nn.Sequential(
            nn.Linear(6, 8), Stubborn(nn.ReLU(), nn.Dropout(0.5)), nn.Linear(8, 3)
        ),
        X,
        {("dropout-stays-on", "1.1")},
    ),
    "mode that stops before a function": (
        lambda: nn.Sequential(nn.Linear(6, 8), Stubborn(nn.ReLU(), Functional()), nn.Linear(8, 3)),
        X,
        {("dropout-stays-on", "1.1")},
    ),
    "mode that stops before attention": (
        lambda: nn.Sequential(Stubborn(nn.TransformerEncoderLayer(6, 2, 12)), nn.Linear(6, 3)),
        STEPS,
        {
            ("dropout-stays-on", f"0.0.{name}")
            for name in ("self_attn", "dropout", "dropout1", "dropout2")
        },
    ),
    "layer that drops whatever its mode": (
        lambda: mlp(AlwaysDropout(0.5)),
        X,
        {("functional-dropout", "2")},
    ),
    "layers in a list": (
        lambda: Listed(nn.Dropout(0.5), nn.Linear(6, 6), nn.Dropout(0.5)),
        X,
        {("dropout-stays-on", "")},
    ),
    "blocks in a list": (
        lambda: nn.Sequential(nn.Linear(6, 6), Listed(nn.TransformerEncoderLayer(6, 2, 12))),
        STEPS,
        {("dropout-stays-on", "1")},
    ),
    "function in a list": (lambda: Listed(Functional()), X, {("dropout-stays-on", "")}),
    "layer of dropkit in a list": (
        lambda: Listed(noise.Dropout(0.5)),
        X,
        {("dropout-stays-on", "")},
    ),
    "function that a list calls, in a submodule": (
        lambda: ListedAround(Always()),
        X,
        {("functional-dropout", "inner")},
    ),
    "noise, always": (lambda: mlp(Noisy()), X, {("nondeterministic-eval", "2")}),
    "noise of Python": (lambda: mlp(PythonNoise()), X, {("nondeterministic-eval", "2")}),
    "counter": (lambda: Around(Counter()), X, {("nondeterministic-eval", "middle")}),
    "counter in a parent": (
        lambda: Around(CountingParent()),
        X,
        {("nondeterministic-eval", "middle")},
    ),
    "LSTM of one layer": (lambda: Recurrent(1), STEPS, {("one-layer-rnn", "rnn")}),
    "p = 0": (lambda: mlp(nn.Dropout(0.0)), X, {("rate", "2")}),
    "p = 0 of dropkit": (lambda: mlp(noise.Dropout(0.0)), X, {("rate", "2")}),
    "p = 0 beside another": (
        lambda: mlp(nn.Dropout(0.5), noise.Dropout(0.0)),
        X,
        {("rate", "3")},
    ),
    "p = 0 at the output": (
        lambda: nn.Sequential(*mlp(nn.Dropout(0.5)), noise.GaussianDropout(0.0)),
        X,
        {("rate", "4")},
    ),
    "weights of one output, all equal": (lambda: equal_weights(1), X, set()),
    "weights of two outputs, all equal": (lambda: equal_weights(2), X, set()),
    "p = 1": (lambda: Around(noise.Dropout(1.0)), X, {("rate", "middle")}),
    "p = 1 of torch": (lambda: mlp(nn.Dropout(1.0)), X, {("rate", "2")}),
    "one p = 0": (
        lambda: nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.0), *mlp(nn.Dropout(0.5))),
        X,
        {("rate", "1")},
    ),
    "doubled": (lambda: mlp(nn.Dropout(0.5), nn.Dropout(0.5)), X, {("doubled", "3")}),
    "doubled across modules": (
        lambda: Around(nn.Sequential(nn.Dropout(0.2), nn.Tanh(), Functional())),
        X,
        {("doubled", "middle.2")},
    ),
    "doubled, dropkit": (
        lambda: mlp(noise.Dropout(0.2), nn.ReLU(inplace=True), noise.GaussianDropout(0.2)),
        X,
        {("doubled", "4")},
    ),
    "doubled, with a function that does nothing between": (
        lambda: mlp(nn.Dropout(0.2), ToProcessor(), nn.Dropout(0.2)),
        X,
        {("doubled", "4")},
    ),
    "on the logits": (
        lambda: nn.Sequential(*mlp(), noise.Dropout(0.5)),
        X,
        {("on-output", "3")},
    ),
    "before the softmax": (
        lambda: nn.Sequential(*mlp(), nn.Dropout(0.5), nn.LogSoftmax(-1)),
        X,
        {("on-output", "3")},
    ),
    "before batch norm": (
        lambda: mlp(nn.Dropout(0.5), nn.BatchNorm1d(16)),
        X,
        {("before-batch-norm", "3")},
    ),
    "before batch norm, the first of two": (
        lambda: mlp(
            nn.Dropout(0.5),
            nn.Linear(16, 16),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Linear(16, 16),
            nn.BatchNorm1d(16),
        ),
        torch.cat([X, X.flip(1), X.roll(1, 1), -X]),
        {("before-batch-norm", "4")},
    ),
    "before batch norm, with a convolution between": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Conv2d(8, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128, 10),
        ),
        IMAGES,
        {("before-batch-norm", "4")},
    ),
    "seeded in forward": (lambda: mlp(Reseeding()), X, {("identical-masks", "2")}),
    "generator seeded in forward": (
        lambda: Around(OwnGeneratorDropout(True)),
        X,
        {("identical-masks", "middle")},
    ),
    "fixed mask": (
        lambda: mlp(FixedMaskDropout(), nn.Linear(16, 16), nn.Dropout(0.5)),
        X,
        {("identical-masks", "2")},
    ),
    "fixed seed": (
        lambda: nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), *mlp(FixedSeed())),
        X,
        {("identical-masks", "4")},
    ),
    "hidden from sampling": (lambda: mlp(Hidden()), X, {("no-variance", "2")}),
    "called in training only": (
        lambda: OnlyInTraining(nn.Dropout(0.5)),
        X,
        {("no-variance", "layer")},
    ),
    "rarely dropped, in training only": (
        lambda: OnlyInTraining(noise.DropPath(0.02)),
        X[:2],
        {("no-variance", "layer")},
    ),
    "called in training only, with a generator of its own": (
        lambda: OnlyInTraining(OwnGeneratorDropout(False)),
        X,
        {("no-variance", "layer")},
    ),
    "called in training only, with dropout before": (
        lambda: nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), OnlyInTraining(nn.Dropout(0.5))),
        X,
        {("no-variance", "2.layer")},
    ),
    "partly hidden from sampling": (
        lambda: nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), *mlp(Hidden())),
        X,
        {("no-variance", "4")},
    ),
    "dropout never called": (Forgotten, X, {("never-called", "drop")}),
    "dropout without effect": (Unused, X, {("no-variance", "drop")}),
    "layers skipped": (
        LayerDrop,
        X,
        {("no-gradient", f"blocks.{i}") for i in range(3)},
    ),
    "branch skipped by Python": (
        lambda: nn.Sequential(nn.Linear(6, 6), StochasticDepth(), nn.Linear(6, 3)),
        X,
        {("no-gradient", "1")},
    ),
    "max-norm on the wrong axis": (
        lambda: constrained(0),
        X,
        {("max-norm-axis", "0"), ("max-norm-axis", "3")},
    ),
    "max-norm on the wrong axis of a convolution": (
        wrong_axis_conv,
        IMAGES,
        {("max-norm-axis", "3")},
    ),
}
