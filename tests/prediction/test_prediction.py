"""Prediction gives the samples of naive passes, their moments, and never silent certainty."""

import random
from collections import UserDict
from itertools import product
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dropkit.functional import dropout
from dropkit.noise import (
    AlphaDropout,
    DropBlock2d,
    DropConnect,
    Dropout,
    Dropout2d,
    DropPath,
    EmbeddingDropout,
    FeatureAlphaDropout,
    GaussianDropout,
    GaussianNoise,
    LockedDropout,
    StochasticDepth,
    WeightDrop,
    WordDropout,
)  # fmt: skip
from dropkit.prediction import checkpoints, predict
from dropkit.prediction._sampling import sampling

ROWS = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
SEQUENCE = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0))
Z = 4.5  # standard errors; passed by chance in 7 of a million


def network(layer, dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6), nn.BatchNorm1d(6), layer, nn.Tanh(),
        nn.Linear(6, 3),
    ).to(dtype).eval()  # fmt: skip


class Counter(nn.Module):
    """Counts the rows that come by, its copies among them."""

    def __init__(self):
        super().__init__()
        self.seen = SimpleNamespace(rows=0, most=0)

    @property
    def rows(self):
        return self.seen.rows

    @property
    def most(self):
        return self.seen.most

    def forward(self, x):
        self.seen.rows += x.size(0)
        self.seen.most = max(self.most, x.size(0))
        return x


class Functional(nn.Module):
    """A size read from the batch, a residual path, dropout as a function."""

    def __init__(self):
        super().__init__()
        self.counter, self.first, self.second = Counter(), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = self.counter(x)
        x = (x + self.first(x)).view(x.size(0), -1)
        return self.second(x + F.dropout(x, 0.5, self.training))


class Returns(nn.Sequential):
    def forward(self, x):
        return {"logits": super().forward(x)}


class WeightDropout(nn.Module):
    """One mask on the weights for the whole batch."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 2)

    def forward(self, x):
        return F.linear(x, F.dropout(self.linear.weight, 0.5, self.training))


class LayerDrop(nn.Module):
    """Skips a layer with a draw for the whole batch, from torch or from Python."""

    def __init__(self, draw):
        super().__init__()
        self.linear, self.draw, self.rate = nn.Linear(6, 6), draw, 0.5

    def forward(self, x):
        skip = self.training and self.draw() < self.rate  # the rate of layer drop
        return x if skip else self.linear(x)


def transformer(batch_first):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(6, 2, 12, 0.2, batch_first=batch_first)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()


class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 4, 2, dropout=0.5, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0][:, -1]


def image_network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Dropout2d(0.5, inplace=True), nn.Flatten(),
        nn.Linear(4 * 2 * 3, 2),
    )  # fmt: skip


class TimeInside(nn.Module):
    """Takes the examples first and works with the time first."""

    def __init__(self):
        super().__init__()
        self.linear, self.dropout = nn.Linear(6, 6), nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(self.linear(x.transpose(0, 1))).transpose(0, 1)


class Lenient(nn.Module):
    """Takes tensors and else, so that following it with symbols goes another way."""

    def __init__(self):
        super().__init__()
        self.linear, self.dropout = nn.Linear(6, 6), nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(self.linear(x * 2 if isinstance(x, torch.Tensor) else x))


class DropkitFunction(nn.Module):
    """Noise of dropkit called as a function, after a part that runs once."""

    def __init__(self):
        super().__init__()
        self.counter, self.linear = Counter(), nn.Linear(6, 6)

    def forward(self, x):
        return dropout(self.linear(self.counter(x)), 0.5, self.training)


class Words(nn.Module):
    def __init__(self, before, embedding):
        super().__init__()
        self.before, self.embedding = before, embedding

    def forward(self, x):
        return self.embedding(self.before(x)).flatten(1)


class WeightDropped(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = WeightDrop(nn.LSTM(6, 4, batch_first=True), 0.5)

    def forward(self, x):
        return self.lstm(x)[0][:, -1]


TOKENS = torch.arange(20).view(4, 5)
IMAGES = torch.randn(4, 2, 6, 6, generator=torch.Generator().manual_seed(0))
# Models whose samples may share a pass, and models whose samples must not.
FOLDED = {
    "torch": (lambda: network(nn.Dropout(0.5)), ROWS),
    "in place": (lambda: network(nn.Dropout(0.5, inplace=True)), ROWS),
    "dropkit": (lambda: network(Dropout(0.5)), ROWS),
    "functional": (Functional, ROWS),
    "root": (lambda: nn.Dropout(0.5), ROWS),
    "transformer": (lambda: transformer(batch_first=True), SEQUENCE),
    "lstm": (Last, SEQUENCE),
    "time inside": (TimeInside, SEQUENCE),
    "lenient": (Lenient, ROWS),
    "channels": (image_network, SEQUENCE[:, None, :4, :5]),
    "dropkit function": (DropkitFunction, ROWS),
    "Gaussian": (lambda: network(GaussianDropout(0.5)), ROWS),
    "additive": (lambda: network(GaussianNoise(0.5)), ROWS),
    "alpha": (lambda: network(AlphaDropout(0.5)), ROWS),
    "drop path": (lambda: network(DropPath(0.5)), ROWS),
    "stochastic depth": (lambda: network(StochasticDepth(nn.Linear(6, 6), 0.5)), ROWS),
    "feature alpha": (lambda: nn.Sequential(FeatureAlphaDropout(0.5)), IMAGES),
    "dropkit channels": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), Dropout2d(0.5)), IMAGES),
    "blocks": (lambda: nn.Sequential(nn.Conv2d(2, 3, 1), DropBlock2d(0.3, block_size=3)), IMAGES),
    "locked": (lambda: LockedDropout(0.5, batch_first=True), SEQUENCE),
    "words": (lambda: Words(WordDropout(0.5, unknown=0), nn.Embedding(20, 3)), TOKENS),
}
APART = {
    "weights": (WeightDropout, ROWS),
    "mask of the batch": (lambda: network(Dropout(0.5, shared_dims=(0,))), ROWS),
    "layer drop": (lambda: LayerDrop(lambda: torch.rand([])), ROWS),
    "time first": (lambda: transformer(batch_first=False), SEQUENCE),
    "dropkit weights": (lambda: DropConnect(nn.Linear(6, 2)), ROWS),
    "dropkit recurrent weights": (WeightDropped, SEQUENCE),
    "dropkit time first": (lambda: LockedDropout(0.5), SEQUENCE),
    "embedding": (lambda: Words(nn.Identity(), EmbeddingDropout(nn.Embedding(20, 3))), TOKENS),
    "no batch": (lambda: nn.Sequential(nn.Dropout(0.5), nn.Flatten(0), nn.Linear(24, 1)), ROWS),
}


def naive(model, x, seed, passes):
    torch.manual_seed(seed)
    with sampling(model), torch.no_grad():
        return torch.stack([model(x.clone()) for _ in range(passes)])


@pytest.mark.parametrize("name", FOLDED)
def test_one_pass_of_many_rows_has_the_masks_of_the_naive_one(name):
    torch.manual_seed(0)
    make, x = FOLDED[name]
    model = make().eval()
    found = predict(model, x, 10, keep_samples=True, seed=3)
    (rows,) = naive(model, x.repeat(10, *[1] * (x.dim() - 1)), 3, 1)
    torch.testing.assert_close(found.samples.flatten(0, 1), rows)


@pytest.mark.parametrize("name", [*FOLDED, *APART])
def test_many_passes_have_the_masks_of_the_naive_ones(name):
    torch.manual_seed(0)
    make, x = (FOLDED | APART)[name]
    model = make().eval()
    memory = 1 if name in FOLDED else 1 << 28
    found = predict(model, x, 10, keep_samples=True, seed=3, max_memory_bytes=memory)
    expected = naive(model, x, 3, 10)
    torch.testing.assert_close(found.samples, expected)
    torch.testing.assert_close(found.mean, expected.mean(0))
    torch.testing.assert_close(found.variance, expected.var(0))
    torch.testing.assert_close(found.standard_error, expected.std(0) / 10**0.5)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("layer", [nn.Dropout, Dropout])
def test_moments_are_those_of_all_masks(layer, shared):
    p, samples = 0.25, 4000
    model, x = network(layer(p), torch.float64), ROWS.double()
    found = predict(model, x, samples, shared=shared, seed=1)
    with torch.no_grad():
        hidden = model[:4](x)
        masks = torch.tensor(list(product((0.0, 1.0), repeat=6)), dtype=torch.float64)
        weights = (p ** (1 - masks) * (1 - p) ** masks).prod(1)
        outputs = model[5:](hidden * masks[:, None] / (1 - p))
    mean = torch.einsum("m,mno->no", weights, outputs)
    central = [torch.einsum("m,mno->no", weights, (outputs - mean) ** k) for k in (2, 4)]
    assert ((found.mean - mean).abs() < Z * (central[0] / samples).sqrt()).all()
    assert ((found.standard_error - (central[0] / samples).sqrt()).abs() < 1e-3).all()
    # The variance of a sample variance, up to terms in 1/T².
    error = ((central[1] - central[0] ** 2) / samples).sqrt()
    assert ((found.variance - central[0]).abs() < Z * error).all()


@pytest.mark.parametrize("name", ["torch", "dropkit", "functional", "weights", "channels"])
def test_shared_masks_are_the_same_for_every_example(name):
    torch.manual_seed(0)
    make, x = (FOLDED | APART)[name]
    x = x[:1].expand(3, *x.shape[1:])
    same = predict(make().eval(), x, 20, shared=True, keep_samples=True, seed=0).samples
    torch.testing.assert_close(same, same[:, :1].expand_as(same))
    assert len(same[:, 0].unique(dim=0)) > 1
    if name in FOLDED:
        own = predict(make().eval(), x, 20, keep_samples=True, seed=0).samples
        assert not torch.equal(own[:, 0], own[:, 1])


def test_shared_masks_need_rows_apart():
    for model in (transformer(batch_first=False), nn.Sequential(PlusMean(), nn.Dropout(0.5))):
        with pytest.raises(ValueError, match="needs independent examples along dimension 0"):
            predict(model, SEQUENCE, shared=True)


def test_draws_of_python_are_seen():
    random.seed(0)
    model = LayerDrop(random.random).eval()
    samples = predict(model, ROWS, 40, keep_samples=True).samples
    assert len(samples.unique(dim=0)) == 2
    # Followed with symbols, the draw would happen once, and only the dropout after it again.
    nn.init.zeros_(model.linear.weight)
    nn.init.zeros_(model.linear.bias)
    for _ in range(5):
        longer = nn.Sequential(model, nn.Dropout(0.5))
        samples = predict(longer, ROWS, 40, keep_samples=True).samples
        zero = (samples == 0).flatten(1).all(1)
        assert 0 < zero.sum() < 40


def test_the_input_is_left_as_it_was():
    x = ROWS.clone()
    predict(nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(0.5, inplace=True)), x, 10)
    assert torch.equal(x, ROWS)
    predict(nn.Dropout(0.5, inplace=True), x, 10, max_memory_bytes=1)
    assert torch.equal(x, ROWS)


@pytest.mark.parametrize(
    "make",
    [
        Functional,
        DropkitFunction,
        lambda: nn.Sequential(Counter(), nn.Dropout(0.5)),
        lambda: nn.Sequential(Counter(), Dropout(0.5)),
        lambda: nn.Sequential(Counter(), DropConnect(nn.Linear(6, 2))),
    ],
)
def test_what_precedes_the_first_draw_runs_once(make):
    model = make().eval()
    counter = next(m for m in model.modules() if isinstance(m, Counter))
    x = torch.randn(100, 6)
    predict(model, x, 50)
    # The batch, and the rows on which it was tried out.
    assert 100 <= counter.rows < 130


def test_memory_bounds_the_rows_of_a_pass():
    model = nn.Sequential(nn.Dropout(0.5), Counter()).eval()
    x = torch.randn(10, 1000)
    # A row of 4 kB makes a mask, its comparison, a product and so on: at least three tensors.
    predict(model, x, 50, max_memory_bytes=10 * 20 * 4000)
    assert 10 < model[1].most < 10 * 20 / 2


class Tight(Counter):
    """Runs out of memory above eight rows."""

    def __init__(self, message):
        super().__init__()
        self.message = message

    def forward(self, x):
        if len(x) > 8:
            raise self.message
        return super().forward(x)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_out_of_memory_halves_the_rows(error):
    model = nn.Sequential(nn.Dropout(0.5), Tight(error)).eval()
    found = predict(model, ROWS[:2], 100, keep_samples=True, seed=0)
    assert found.count == len(found.samples) == 100
    # 100 → 50 → 25 → 12 → 6 → 3 samples of two rows
    assert model[1].most == 6
    torch.manual_seed(0)
    rows = ROWS[:2].repeat(3, 1)
    expected = [F.dropout(rows[: 2 * count], 0.5).view(count, 2, 6) for count in [3] * 33 + [1]]
    assert torch.equal(found.samples, torch.cat(expected))
    with pytest.raises(RuntimeError, match="memory"):
        predict(model, torch.randn(9, 6))
    with pytest.raises(RuntimeError, match="planned"):
        predict(nn.Sequential(nn.Dropout(0.5), Tight(RuntimeError("planned"))), ROWS)


def test_classification_is_of_probabilities():
    options = {"keep_samples": True, "seed": 0}
    found = predict(network(nn.Dropout(0.5)), ROWS, 30, task="classification", **options)
    logits = predict(network(nn.Dropout(0.5)), ROWS, 30, **options).samples
    p = logits.double().softmax(-1)
    entropy = -(p.mean(0) * p.mean(0).log()).sum(-1)
    torch.testing.assert_close(found.mean.double(), p.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.variance.double(), p.var(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.entropy.double(), entropy, rtol=1e-5, atol=1e-6)
    information = entropy + (p * p.log()).sum(-1).mean(0)
    torch.testing.assert_close(found.mutual_information.double(), information, rtol=1e-4, atol=1e-6)
    assert (information > 0.001).all()


class Masked(nn.Module):
    """Excludes a class."""

    def forward(self, x):
        return torch.cat([x, torch.full_like(x[:, :1], -torch.inf)], 1)


def test_an_excluded_class_adds_no_entropy():
    model = nn.Sequential(nn.Dropout(0.5), Masked())
    free = predict(model[:1], ROWS, 30, task="classification", seed=0)
    masked = predict(model, ROWS, 30, task="classification", seed=0)
    torch.testing.assert_close(masked.entropy, free.entropy)
    torch.testing.assert_close(masked.mutual_information, free.mutual_information)


def test_large_mean_keeps_the_digits_of_the_variance():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 1)).eval()
    near = predict(model, ROWS, 100, seed=0).variance
    nn.init.constant_(model[1].bias, 1000.0)
    far = predict(model, ROWS, 100, seed=0).variance
    # Outputs near 1000 are rounded to 6e-5.
    torch.testing.assert_close(far, near, rtol=1e-3, atol=0)


@pytest.mark.parametrize("inplace", [False, True])
def test_a_single_example(inplace):
    model = network(nn.Dropout(0.5, inplace))
    found = predict(model, ROWS[:1], 10, keep_samples=True, seed=0)
    assert found.mean.shape == (1, 3)
    (expected,) = naive(model, ROWS[:1].repeat(10, 1), 0, 1)
    torch.testing.assert_close(found.samples[:, 0], expected)


@pytest.mark.parametrize("mode", [True, False])
def test_the_model_is_left_as_it_was(mode):
    model = network(nn.Dropout(0.5, inplace=True)).train(mode)
    x = ROWS.clone()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    predict(model, x, 10)
    assert all(module.training == mode for module in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert torch.equal(x, ROWS)


def test_seed_fixes_the_samples_and_leaves_the_generator():
    model = network(nn.Dropout(0.5))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = (predict(model, ROWS, 10, seed=1).mean for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, predict(model, ROWS, 10, seed=2).mean)
    generators = [torch.Generator().manual_seed(7) for _ in range(2)]
    first, second = (predict(model, ROWS, 10, generator=g).mean for g in generators)
    assert torch.equal(first, second)
    first, second = (predict(model, ROWS, 10).mean for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (lambda: nn.Linear(6, 2), "no dropout"),
        (lambda: nn.Sequential(nn.Dropout(0.0)), r"0 is Dropout\(p=0.0"),
        (lambda: nn.Sequential(Dropout(1.0)), r"0 is Dropout\(p=1\)"),
        (lambda: nn.Dropout(0.0), r"the model is Dropout\(p=0.0"),
    ],
)
def test_certainty_is_never_silent(model, found):
    with pytest.raises(ValueError, match=f"all samples are equal: found {found}"):
        predict(model(), ROWS)


def test_certainty_is_found_without_all_the_passes():
    model = nn.Sequential(Counter(), nn.Linear(6, 2))
    with pytest.raises(ValueError, match="no dropout"):
        predict(model, ROWS, 10_000)
    assert model[0].rows < 40


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ValueError, "samples must be 2 or more", {"samples": 1}),
        (ValueError, "task must be", {"task": "both"}),
        (ValueError, "must hold examples", {"x": torch.zeros(0, 6)}),
        (ValueError, "a seed or a generator", {"seed": 0, "generator": torch.Generator()}),
        (ValueError, "two classes", {"task": "classification", "model": nn.Linear(6, 1)}),
        (TypeError, "floating tensor, got tuple", {"model": nn.LSTM(6, 6)}),
        (TypeError, r"torch\.nn\.Module", {"model": abs}),
        (TypeError, "a mapping of named ones, got int", {"x": 3}),
        (TypeError, r"integer, got a Tensor; .* a tuple", {"samples": ROWS}),
        (ValueError, "must hold examples", {"x": torch.zeros(0, 6).numpy()}),
        (TypeError, r"floating tensor, got torch\.int64", {"output": lambda y: y.argmax(1)}),
        (AttributeError, "nothing", {"output": "nothing"}),
        (KeyError, "nothing", {"model": Returns(nn.Linear(6, 3)), "output": "nothing"}),
    ],
)
def test_errors_say_what_must_hold(error, message, options):
    options = {"model": nn.Linear(6, 3), "x": ROWS} | options
    model = options.pop("model")
    if isinstance(model, nn.Module):
        model = nn.Sequential(nn.Dropout(0.5), model)
    with pytest.raises(error, match=message):
        predict(model, **options)


class Two(nn.Module):
    """A network of two inputs."""

    def __init__(self):
        super().__init__()
        self.net = network(nn.Dropout(0.5))

    def forward(self, first, second):
        return self.net(torch.cat([first, second.relu_()], 1))


def test_several_inputs_take_a_pass_for_each_sample():
    first, second = ROWS[:, :2], ROWS[:, 2:].relu()
    model, joined = Two().eval(), torch.cat([first, second], 1)
    expected = naive(model.net, joined, 3, 10)
    for x in ((first, second), {"second": second, "first": first}, [first.numpy(), second]):
        found = predict(model, x, 10, keep_samples=True, seed=3)
        torch.testing.assert_close(found.samples, expected)
    array = predict(model.net, joined.numpy(), 10, seed=3)
    assert torch.equal(array.mean, predict(model.net, joined, 10, seed=3).mean)
    plain = predict([Two(), Two().requires_grad_(False)], UserDict(first=first, second=second), 9)
    assert plain.mean.shape == (4, 3)
    unsure = nn.Sequential()
    unsure.forward = lambda first, second: first
    with pytest.raises(ValueError, match="all samples are equal: found no dropout"):
        predict(unsure, (first, second), 10_000)
    with pytest.raises(ValueError, match="dimension 0 of one input"):
        predict(model, (first, second), shared=True)
    named = predict(Returns(nn.Dropout(0.5)), {"x": first}, task="regression")
    assert named.mean.shape == first.shape


class PlusMean(nn.Module):
    """Rows that act on each other, which equal rows do not show."""

    def forward(self, x):
        return x + x.mean(0, keepdim=True)


@pytest.mark.parametrize(
    ("x", "layers"),
    [
        (torch.ones(4, 6), [nn.Dropout(0.5)]),
        (torch.ones(4, 6).long(), [WordDropout(0.5, unknown=0), nn.Embedding(2, 3)]),
    ],
)
def test_rows_that_act_on_each_other_are_found_in_equal_rows(x, layers):
    model = nn.Sequential(*layers, PlusMean()).eval()
    found = predict(model, x, 10, keep_samples=True, seed=3)
    torch.testing.assert_close(found.samples, naive(model, x, 3, 10))


def members(count=3, layer=lambda: nn.Dropout(0.5)):
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(6, 8), layer(), nn.Linear(8, 3)).eval() for _ in range(count)]


def test_the_mixture_of_an_ensemble_is_that_of_all_samples():
    models, x = [model.double() for model in members()], ROWS.double()
    found = predict(models, x, 10, keep_samples=True, seed=3)
    single = [
        predict(model, x, 10, keep_samples=True, seed=3 + m) for m, model in enumerate(models)
    ]
    samples = torch.stack([one.samples for one in single])
    assert torch.equal(found.samples, samples.flatten(0, 1))
    assert found.count == 30
    torch.testing.assert_close(found.mean, samples.mean((0, 1)))
    within, between = samples.var(1).mean(0), samples.mean(1).var(0)
    torch.testing.assert_close(found.variance_between, between)
    torch.testing.assert_close(found.variance, within + between)
    torch.testing.assert_close(found.standard_error, (within / 30).sqrt())
    for one, member in zip(single, found.members, strict=True):
        assert torch.equal(one.mean, member.mean)
        assert not one.variance_between.any()


def test_the_error_of_an_ensemble_is_not_lost_in_what_its_models_differ():
    def model(bias):
        last = nn.Linear(4, 1)
        nn.init.constant_(last.weight, 0.01)
        nn.init.constant_(last.bias, bias)
        return nn.Sequential(nn.Dropout(0.5), last).eval()

    found = predict([model(0.0), model(1000.0)], torch.ones(2, 4), 100, seed=0)
    within = torch.stack([member.variance for member in found.members]).mean(0)
    torch.testing.assert_close(found.standard_error, (within / 200).sqrt())
    assert (found.standard_error > 0).all()


def test_the_information_of_an_ensemble_adds_up():
    models = [model.double() for model in members()]
    x = ROWS.double()
    found = predict(models, x, 10, task="classification", keep_samples=True, seed=3)
    p = found.samples.unflatten(0, (3, 10))

    def entropy(p):
        return -(p * p.log()).sum(-1)

    torch.testing.assert_close(found.entropy, entropy(p.mean((0, 1))))
    torch.testing.assert_close(found.mutual_information, found.entropy - entropy(p).mean((0, 1)))
    between = found.entropy - entropy(p.mean(1)).mean(0)
    torch.testing.assert_close(found.information_between, between)
    within = torch.stack([member.mutual_information for member in found.members]).mean(0)
    torch.testing.assert_close(found.mutual_information, within + between)
    assert not found.members[0].information_between.any()
    assert predict(models, x, 10).information_between is None


def test_the_error_of_an_ensemble_is_of_its_masks():
    models = [model.double() for model in members()]
    found = [predict(models, ROWS.double(), 20, seed=10 * s) for s in range(200)]
    means = torch.stack([one.mean for one in found])
    claimed = torch.stack([one.standard_error for one in found]).square().mean(0)
    # The variance of 200 means of 60 samples, next to normal, has a standard error of √(2/199).
    assert ((means.var(0) / claimed - 1).abs() < Z * (2 / 199) ** 0.5).all()


@pytest.mark.parametrize("layer", [lambda: nn.Dropout(0.5), nn.Identity])
def test_a_plain_ensemble_runs_every_model_once_in_evaluation(layer):
    models = members(layer=layer)
    found = predict(models, ROWS, 0, task="classification")
    with torch.no_grad():
        p = torch.stack([model(ROWS) for model in models]).softmax(-1)
    torch.testing.assert_close(found.mean, p.mean(0))
    torch.testing.assert_close(found.variance, p.var(0))
    torch.testing.assert_close(found.mutual_information, found.information_between)
    assert not found.standard_error.any()
    assert found.count == 3


def test_checkpoints_are_copies_that_leave_the_model():
    models = members()
    states = [model.state_dict() for model in models]
    (own,) = members(1)
    before = own[0].weight.clone()
    loaded = checkpoints(own, iter(states))
    found = predict(loaded, ROWS, 10, seed=3)
    assert torch.equal(found.mean, predict(models, ROWS, 10, seed=3).mean)
    assert torch.equal(own[0].weight, before)
    first, second = list(checkpoints(own, states[:2]))
    assert torch.equal(first[0].weight, models[0][0].weight)
    assert torch.equal(second[0].weight, models[1][0].weight)


class Hidden(nn.Module):
    """Drops without a word of it."""

    def forward(self, x):
        return x * torch.rand_like(x) if self.training else x


def test_also_holds_modules_of_any_member():
    models = [nn.Sequential(Hidden()).eval() for _ in range(2)]
    assert predict(models, ROWS, 10, extra_modules=[model[0] for model in models]).count == 20
    with pytest.raises(ValueError, match="found no dropout"):
        predict(models, ROWS, 10, extra_modules=[models[0][0]])
    model = nn.Sequential(nn.Dropout(0.5), Hidden())
    copies = checkpoints(model, [model.state_dict()] * 2)
    with pytest.raises(ValueError, match="these are in none: Hidden; checkpoints yields copies"):
        predict(copies, ROWS, 10, extra_modules=[model[1]])


@pytest.mark.parametrize(
    ("models", "samples", "error", "message"),
    [
        (members(1), 10, ValueError, "two or more models"),
        ([], 10, ValueError, "two or more models"),
        ([*members(1), nn.Sequential(nn.Dropout(0.5))], 10, ValueError, "outputs of the same"),
        ([nn.Linear(6, 3), nn.Linear(6, 3)], 10, ValueError, "no dropout"),
        (members(1) * 2, 0, ValueError, "the 2 models must differ"),
        (members(), 1, ValueError, "samples must be 2 or more"),
        (members(1)[0], 0, ValueError, "samples must be 2 or more"),
        (members(1)[0].state_dict(), 10, TypeError, "got str; for state dicts give checkpoints"),
    ],
)
def test_an_ensemble_must_be_one(models, samples, error, message):
    with pytest.raises(error, match=message):
        predict(models, ROWS, samples)


class Constant(nn.Module):
    """Makes a tensor as it runs, which following it with symbols makes an attribute of it."""

    def __init__(self):
        super().__init__()
        self.linear, self.dropout = nn.Linear(6, 6), nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(self.linear(x) * torch.tensor(2.0))


def test_no_attribute_is_left_in_the_model():
    model = Constant().eval()
    before = set(vars(model))
    found = predict(model, ROWS, 10, keep_samples=True, seed=3)
    assert set(vars(model)) == before
    (rows,) = naive(model, ROWS.repeat(10, 1), 3, 1)
    torch.testing.assert_close(found.samples.flatten(0, 1), rows)


class Table(nn.Module):
    """Two columns of codes, of which the second has more values."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Embedding(3, 4), nn.Embedding(100, 4)
        self.drop, self.out = nn.Dropout(0.5), nn.Linear(8, 2)

    def forward(self, x):
        x = x.long()
        return self.out(self.drop(torch.cat([self.a(x[:, 0]), self.b(x[:, 1])], 1)))


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_rows_of_codes_are_independent_though_their_columns_hold_other_codes(dtype):
    x = torch.tensor([[0, 50], [1, 60], [2, 70]], dtype=dtype)
    found = predict(Table(), x, samples=20, shared=True)
    assert (found.variance > 0).all()


def test_codes_of_which_the_first_and_the_last_are_equal():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(5, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    found = predict(model, torch.tensor([1, 2, 1]), samples=20, shared=True)
    torch.testing.assert_close(found.mean[0], found.mean[2])  # up to the order of sums
