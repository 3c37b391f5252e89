"""The callbacks in real, small trainings by skorch."""

import math
import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

skorch = pytest.importorskip("skorch")

from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402

from dropkit.adapters.skorch import (  # noqa: E402
    MaxNorm,
    MomentumSchedule,
    RateSchedule,
    RestoreBest,
)
from dropkit.noise import Dropout, GaussianDropout  # noqa: E402
from dropkit.schedule import constant, linear, momentum_ramp  # noqa: E402
from dropkit.surgery import rates  # noqa: E402


class Net(nn.Module):
    """A small net that records what every training batch saw."""

    def __init__(self, hidden=8):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            Dropout(0.5),
            nn.Linear(4, hidden),
            nn.ReLU(),
            GaussianDropout(0.5),
            nn.Linear(hidden, 2),
        )
        self.seen = []

    def forward(self, x):
        if self.training:
            self.seen.append((self.body[0].p, self.body[3].p, largest_norm(self)))
        return self.body(x)


class Watch(skorch.callbacks.Callback):
    """The momentum of every training batch, the weights of every epoch."""

    def __init__(self):
        self.momentum_, self.weights_ = [], []

    def on_grad_computed(self, net, named_parameters, training=None, **kwargs):
        if training:
            group = net.optimizer_.param_groups[0]
            self.momentum_.append(group.get("momentum", group.get("betas")))

    def on_epoch_end(self, net, **kwargs):
        self.weights_.append(deepcopy(net.module_.state_dict()))


class Scores(skorch.callbacks.Callback):
    """Writes given values into the history."""

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, net, **kwargs):
        net.history.record("score", self.values[len(net.history) - 1])


class Accumulating(skorch.NeuralNetClassifier):
    """A step of the optimizer for every two batches."""

    batches = 0

    def train_step(self, batch, **fit_params):
        step = self.train_step_single(batch, **fit_params)
        self.batches += 1
        if self.batches % 2 == 0:
            self.optimizer_.step()
            self.optimizer_.zero_grad()
        return step


def largest_norm(model):
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    return max(layer.weight.detach().norm(dim=1).max().item() for layer in layers)


def data():
    generator = np.random.default_rng(1)
    x = generator.normal(size=(32, 4)).astype(np.float32) * 5
    return x, generator.integers(2, size=32)


def make(*callbacks, kind=skorch.NeuralNetClassifier, **options):
    return kind(
        Net,
        criterion=nn.CrossEntropyLoss,
        callbacks=list(callbacks),
        max_epochs=2,
        lr=0.5,
        batch_size=8,
        train_split=None,
        verbose=0,
        **options,
    )


@pytest.mark.parametrize("kind", [skorch.NeuralNetClassifier, Accumulating])
def test_max_norm_holds_after_every_step(kind):
    free = make(kind=kind).fit(*data()).module_
    held = make(MaxNorm(0.4), kind=kind).fit(*data()).module_
    assert largest_norm(free) > 0.5
    first = 2 if kind is Accumulating else 1
    assert all(norm > 0.4 for *_, norm in held.seen[:first]), "only a step projects"
    assert all(norm <= 0.4 for *_, norm in held.seen[first:])
    assert largest_norm(held) <= 0.4


@pytest.mark.parametrize("layers", ["body.1", lambda name, module: name == "body.1"])
def test_max_norm_of_chosen_layers_ends_with_the_training(layers):
    net = make(MaxNorm(0.4, layers)).fit(*data())
    body = net.module_.body
    assert largest_norm(body[1:2]) <= 0.4 < largest_norm(body[4:])
    with torch.no_grad():
        body[1].weight.fill_(1.0)
    net.optimizer_.step()
    assert largest_norm(body[1:2]) > 0.4


def test_max_norm_says_what_is_wrong():
    with pytest.raises(ValueError, match="c must be"):
        MaxNorm(0)
    with pytest.raises(ValueError, match=r"must select a module of Net, but 'boddy\.1'"):
        make(MaxNorm(1, "boddy.1")).fit(*data())


@pytest.mark.parametrize("kind", [skorch.NeuralNetClassifier, Accumulating])
def test_rate_schedule_is_set_before_every_step(kind):
    schedule = linear(0.0, 0.7, steps=6)
    net = make(RateSchedule(schedule), kind=kind).fit(*data()).module_
    expected = [schedule(batch // (2 if kind is Accumulating else 1)) for batch in range(8)]
    assert [first for first, *_ in net.seen] == expected
    assert [second for _, second, _ in net.seen] == expected


def test_partial_fit_goes_on_with_the_schedule_and_fit_starts_anew():
    schedule = linear(0.0, 0.7, steps=20)
    net = make(RateSchedule(schedule)).fit(*data()).partial_fit(*data())
    assert [p for p, *_ in net.module_.seen] == [schedule(step) for step in range(16)]
    net.fit(*data())
    assert [p for p, *_ in net.module_.seen] == [schedule(step) for step in range(8)]


def test_rate_schedules_by_name():
    falling = linear(0.4, 0.0, steps=6)
    net = make(RateSchedule({"body.*": constant(0.1), "body.3": falling})).fit(*data()).module_
    assert [seen[:2] for seen in net.seen] == [(0.1, falling(step)) for step in range(8)]
    with pytest.raises(ValueError, match=r"'boddy\.0' must fit a rate.*did you mean 'body\.0'"):
        make(RateSchedule({"boddy.0": falling})).fit(*data())


def test_rate_schedule_must_find_a_layer():
    net = skorch.NeuralNetClassifier(
        nn.Linear, module__in_features=4, module__out_features=2, verbose=0
    )
    net.set_params(callbacks=[RateSchedule(linear(0.0, 0.5, 3))], train_split=None)
    with pytest.raises(ValueError, match=r"must find a dropkit layer.*surgery\.replace"):
        net.fit(*data())


def test_momentum_schedule_is_set_before_every_step():
    schedule, watch = momentum_ramp(0.5, 0.9, tau=3), Watch()
    make(MomentumSchedule(schedule), watch, optimizer__momentum=0.1).fit(*data())
    assert watch.momentum_ == [schedule(step) for step in range(8)]
    watch = Watch()
    make(MomentumSchedule(schedule), watch, optimizer=torch.optim.Adam).fit(*data())
    assert watch.momentum_ == [(schedule(step), 0.999) for step in range(8)]
    with pytest.raises(ValueError, match="Adagrad has none"):
        make(MomentumSchedule(schedule), optimizer=torch.optim.Adagrad).fit(*data())


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([3.0, 1.0, 2.0], 1),
        ([1.0, 1.0, 1.0], 0),
        ([math.nan, 2.0, 1.5], 2),
        ([math.nan, math.inf, math.nan], 1),
    ],
)
@pytest.mark.parametrize("mode", ["min", "max"])
def test_restores_the_best_weights(values, best, mode):
    values = [value if mode == "min" else -value for value in values]
    watch, restore = Watch(), RestoreBest("score", mode)
    net = make(watch, Scores(values), restore).set_params(max_epochs=3).fit(*data())
    assert (restore.best_, restore.epoch_) == (values[best], best + 1)
    assert [same(net.module_.state_dict(), weights) for weights in watch.weights_] == [
        epoch == best for epoch in range(3)
    ]


def test_restore_best_watches_the_validation_loss_by_default_and_starts_anew():
    net = make(RestoreBest()).set_params(train_split=skorch.dataset.ValidSplit(2))
    for _ in range(2):
        net.fit(*data())
        restore = dict(net.callbacks_)["RestoreBest"]
        assert restore.best_ == min(net.history[:, "valid_loss"])
        assert len(net.history) == 2
    net.partial_fit(*data())
    assert restore.best_ == min(net.history[:, "valid_loss"])
    assert len(net.history) == 4


def test_fit_forgets_the_best_of_before():
    scores, restore = Scores([1.0, 2.0]), RestoreBest("score")
    net = make(scores, restore).fit(*data())
    assert (restore.best_, restore.epoch_) == (1.0, 1)
    scores.values = [5.0, 4.0]
    net.fit(*data())
    assert (restore.best_, restore.epoch_) == (4.0, 2)


def test_restores_nothing_if_every_value_is_nan():
    watch, restore = Watch(), RestoreBest("score")
    net = make(watch, Scores([math.nan] * 2), restore).fit(*data())
    assert restore.best_ is None
    assert same(net.module_.state_dict(), watch.weights_[-1])


def test_restore_best_says_what_is_missing():
    with pytest.raises(ValueError, match="mode must be 'min' or 'max', got 'lowest'"):
        RestoreBest(mode="lowest")
    with pytest.raises(ValueError, match="'valid_loss' must be in the history"):
        make(RestoreBest()).fit(*data())


class Encoder(nn.Module):
    """torch's transformer over four features as tokens, its dropout as it comes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.encoder(x[..., None].expand(-1, -1, 8)).mean(1))


def test_all_of_them_on_a_transformer():
    schedule = linear(0.0, 0.4, steps=8)
    callbacks = [MaxNorm(0.5, "encoder.*"), RateSchedule({"*": schedule}), RestoreBest()]
    net = make(*callbacks, optimizer=torch.optim.AdamW)
    net.set_params(module=Encoder, train_split=skorch.dataset.ValidSplit(2), lr=0.01)
    net.fit(*data())
    assert list(rates(net.module_).values()) == pytest.approx([schedule(3)] * 8, abs=2**-16)
    assert largest_norm(net.module_.encoder) <= 0.5
    assert callbacks[2].best_ == min(net.history[:, "valid_loss"])


def all_callbacks():
    return [
        MaxNorm(1, "body.1"),
        RateSchedule({"body.*": linear(0.0, 0.5, 4)}),
        MomentumSchedule(momentum_ramp(0.5, 0.9, 3)),
        RestoreBest("train_loss"),
    ]


class PickleEveryEpoch(skorch.callbacks.Callback):
    """What a checkpoint of the whole net does, in memory."""

    def on_epoch_end(self, net, **kwargs):
        self.net_ = pickle.loads(pickle.dumps(net))


def test_a_net_with_callbacks_can_be_pickled_while_and_after_training():
    net = make(*all_callbacks(), PickleEveryEpoch(), optimizer__momentum=0.1).fit(*data())
    during = dict(net.callbacks_)["PickleEveryEpoch"].net_
    after = pickle.loads(pickle.dumps(net))
    for copied in (during, after):
        copied.module_.seen.clear()
        copied.partial_fit(*data())
        assert copied.module_.seen[0][0] == linear(0.0, 0.5, 4)(8)
        assert largest_norm(copied.module_.body[1:2]) <= 1


def test_a_net_with_callbacks_can_be_cloned_and_searched():
    net = make(*all_callbacks(), optimizer__momentum=0.1)
    cloned = clone(clone(net).initialize().set_params(callbacks__MaxNorm__c=2))
    assert cloned.callbacks[0].c == 2
    search = GridSearchCV(net, {"callbacks__MaxNorm__c": [0.3, 0.4]}, cv=2).fit(*data())
    module = search.best_estimator_.module_
    assert largest_norm(module.body[1:2]) <= search.best_params_["callbacks__MaxNorm__c"]
