"""What the doctor measures, what it leaves alone, and what it says when it cannot."""

import random
from collections import OrderedDict, UserDict
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from patients import (
    IMAGES,
    PATIENTS,
    Always,
    Around,
    LayerDrop,
    Noisy,
    OwnGeneratorDropout,
    X,
    cnn,
    mlp,
)
from torch import nn
from torch.nn.modules import module as hooks

from dropkit import noise
from dropkit.doctor import Diagnosis, Finding, doctor


def find(model, example, check, **options):
    (found,) = [f for f in doctor(model, example, **options).findings if f.check == check]
    return found


@pytest.mark.parametrize("training", [True, False])
def test_leaves_the_model_and_all_random_states_as_they_were(training):
    model = nn.Sequential(cnn(), nn.Linear(10, 10), OwnGeneratorDropout(True), nn.Linear(10, 2))
    model.train(training)[0][7].eval()
    model(IMAGES).sum().backward()
    before, gradients = deepcopy(model), [p.grad.clone() for p in model.parameters()]
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    images = IMAGES.clone()
    assert doctor(model, IMAGES).findings
    for (name, old), new in zip(before.named_modules(), model.modules(), strict=True):
        assert old.training == new.training, name
        assert not new._forward_hooks
        assert not new._forward_pre_hooks
    for key, value in before.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key
    for old, parameter in zip(gradients, model.parameters(), strict=True):
        assert torch.equal(old, parameter.grad)
    generators = [m.generator for net in (before, model) for m in net if hasattr(m, "generator")]
    assert torch.equal(*(g.get_state() for g in generators))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]
    assert torch.equal(images, IMAGES)
    assert not hooks._global_forward_hooks
    assert not hooks._global_forward_pre_hooks


def test_a_generator_that_the_copy_shares_is_restored():
    shared = torch.Generator().manual_seed(5)

    class Dropout(nn.Module):
        def forward(self, x):
            if not self.training:
                return x
            return x * torch.bernoulli(torch.full_like(x, 0.5), generator=shared)

    before = shared.get_state()
    doctor(mlp(Dropout()), X)
    assert torch.equal(shared.get_state(), before)


def test_restores_hooks_and_states_after_an_error():
    model, state = nn.Linear(3, 2), torch.get_rng_state()
    with pytest.raises(ValueError, match=r"Linear must run on the example .* RuntimeError"):
        doctor(model, X)
    assert torch.equal(torch.get_rng_state(), state)
    assert not hooks._global_forward_hooks
    assert not hooks._global_forward_pre_hooks


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_variance_shift_is_measured(p):
    """Of inputs with mean 0 and variance v, dropout makes variance v / (1 − p)."""
    torch.manual_seed(0)
    x = torch.randn(4000, 6)
    x -= x.mean(0)
    found = find(nn.Sequential(nn.Dropout(p), nn.BatchNorm1d(6)), x, "before-batch-norm")
    ratio, error = (float(part.split()[0]) for part in found.seen.split("is ")[1].split(" ± "))
    assert error <= 0.01
    assert abs(ratio - 1 / (1 - p)) <= 4 * error + 0.005  # as printed


def test_a_shift_too_small_to_matter_is_no_finding():
    torch.manual_seed(0)
    x = torch.randn(4000, 6)
    assert doctor(nn.Sequential(nn.Dropout(0.05), nn.BatchNorm1d(6), nn.Linear(6, 2)), x).healthy


def test_says_where_in_the_code():
    found = find(Around(Always()), X, "functional-dropout")
    assert "patients.py:" in found.seen
    assert found.path == "middle"


def test_linear_drop_path_rates_begin_with_0_and_that_is_meant():
    def blocks(*rates):
        return nn.Sequential(*(noise.StochasticDepth(nn.Linear(6, 6), p) for p in rates))

    assert doctor(blocks(0.0, 0.1), X).healthy
    assert find(blocks(0.0, 0.0), X, "rate").seen.endswith("as in all 2 dropout layers")


@pytest.mark.parametrize("example", [X, (X,), [X], {"x": X}, X.numpy()])
def test_examples(example):
    assert doctor(Around(nn.Dropout(0.5)), example).healthy


def test_compiled_models_are_examined_as_they_would_run_uncompiled():
    inside, whole = Around(Always()), Around(Always())
    inside.compile()
    for model in (inside, torch.compile(whole)):
        assert [(f.check, f.path) for f in doctor(model, X).findings] == [
            ("functional-dropout", "middle")
        ]


class Returns(nn.Module):
    """Returns a network's output in something else."""

    def __init__(self, holder, net):
        super().__init__()
        self.holder, self.net = holder, net

    def forward(self, x):
        return self.holder(self.net(x))


class Output(OrderedDict):
    """An output class of one's own, which torch does not know."""


HOLDERS = [
    lambda y: Output(logits=y),
    lambda y: UserDict(y=y),
    lambda y: {"outputs": UserDict(y=[y])},
    lambda y: SimpleNamespace(y=y),
    lambda y: SimpleNamespace(hidden=(y,)),
]


@pytest.mark.parametrize("holder", HOLDERS)
def test_outputs_are_found_in_mappings_and_objects_of_any_class(holder):
    assert doctor(Returns(holder, mlp(nn.Dropout(0.5))), X) == Diagnosis(())
    found = doctor(Returns(holder, nn.Sequential(Noisy(), nn.Dropout(0.5))), X).findings
    assert [(f.check, f.path) for f in found] == [
        ("nondeterministic-eval", "net.0"),
        ("on-output", "net.1"),
    ]
    found = doctor(Returns(holder, LayerDrop()), X).findings
    assert {(f.check, f.path) for f in found} == {
        ("no-gradient", f"net.blocks.{i}") for i in range(3)
    }


def test_an_output_without_tensors_is_not_examined_and_said():
    diagnosis = doctor(Returns(lambda y: y.tolist(), mlp(nn.Dropout(0.5))), X)
    assert diagnosis.healthy
    assert diagnosis.skipped[0].startswith("whether two runs differ: no tensor was found")


def test_what_cannot_be_run_in_training_is_skipped_and_said():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 2), nn.Dropout(0.5))
    diagnosis = doctor(model, X[:1])
    assert diagnosis.healthy
    assert "training mode it fails, ValueError: Expected more than 1 value" in diagnosis.skipped[0]
    assert "not examined: placement" in str(diagnosis)


class TwoOutputsWithDropout(nn.Module):
    def forward(self, x):
        return (nn.functional.dropout(x, 0.5, self.training), x) if self.training else x


def test_what_cannot_be_sampled_is_skipped_and_said():
    skipped = doctor(mlp(TwoOutputsWithDropout()), X).skipped
    assert any("with dropout on it fails, TypeError" in reason for reason in skipped)
    assert any("in training mode it fails, TypeError" in reason for reason in skipped)


def test_no_example():
    diagnosis = doctor(PATIENTS["LSTM of one layer"][0]())
    assert [f.check for f in diagnosis.findings] == ["one-layer-rnn"]
    assert len(diagnosis.skipped) == 1


def test_refuses_what_is_no_module():
    with pytest.raises(TypeError, match=r"must be a torch.nn.Module, got function"):
        doctor(mlp, X)


def test_refuses_what_cannot_be_copied():
    model = mlp()
    model.cache = model(X)
    with pytest.raises(ValueError, match="must be possible to copy"):
        doctor(model, X)


def test_errors_come_first_and_text_holds_everything():
    model = nn.Sequential(Always(), nn.Linear(6, 3), nn.Dropout(0.0))
    diagnosis = doctor(model, X)
    assert [f.check for f in diagnosis.findings] == ["functional-dropout", "rate"]
    assert str(Finding("doubled", "", "warning", "seen", "remedy")) == (
        "warning: the model: seen [doubled]\n    remedy"
    )
    assert diagnosis.to_dict()["findings"][1]["path"] == "2"


# Fit


def rows(n, seed):
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))
    noise_ = torch.randn(n, generator=torch.Generator().manual_seed(seed + 1))
    return x, x[:, 0] + 0.5 * noise_


def least_squares(x, y):
    """The model that fits these rows best."""
    model = nn.Linear(6, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.linalg.lstsq(x, y[:, None]).solution.T)
    return model


def fit_checks(model, *data, **options):
    return [f.check for f in doctor(model, data=data, **options).findings]


def test_overfit():
    train, validation = rows(8, 0), rows(500, 10)
    assert fit_checks(least_squares(*train), train, validation) == ["overfit"]


def test_underfit():
    torch.manual_seed(0)
    train, validation = rows(500, 0), rows(500, 10)
    model = nn.Linear(6, 1)
    assert fit_checks(model, train, validation) == ["underfit"]
    # What the best constant would have under another loss is not known.
    assert fit_checks(model, train, validation, loss=lambda out, y: 9 + (out[:, 0] - y) ** 2) == []


def test_a_good_fit_is_no_finding():
    train, validation = rows(500, 0), rows(500, 10)
    model = least_squares(*train)
    assert fit_checks(model, train, validation) == []
    arrays = [tuple(part.numpy() for part in rows_) for rows_ in (train, validation)]
    assert fit_checks(model, *arrays) == []
    batches = [list(zip(x.split(100), y.split(100), strict=True)) for x, y in (train, validation)]
    assert fit_checks(model, *batches) == []
    assert fit_checks(model, train, validation, loss=lambda out, y: (out[:, 0] - y).abs()) == []


def test_a_few_rows_cannot_show_underfit():
    torch.manual_seed(0)
    assert fit_checks(least_squares(*rows(500, 0)), rows(6, 0), rows(6, 10)) == []


def test_a_gap_within_sampling_error_is_no_finding():
    train, validation = rows(8, 0), rows(4, 20)
    assert "overfit" not in fit_checks(least_squares(*train), train, validation)


def test_classes_against_their_frequencies():
    torch.manual_seed(0)
    x, y = rows(500, 0)
    classes = (y > 0.5).long()
    split = (x[:250], classes[:250]), (x[250:], classes[250:])
    good = nn.Linear(6, 2, bias=False)
    with torch.no_grad():
        good.weight.zero_()
        good.weight[1, 0] = 3.0
    good = nn.Sequential(good, Bias())
    assert fit_checks(good, *split) == []
    found = find(nn.Linear(6, 2), None, "underfit", data=split)
    frequency = classes[:250].double().mean()
    entropy = -(frequency * frequency.log() + (1 - frequency) * (1 - frequency).log())
    assert f"{float(entropy):.4g}" in found.seen


class Bias(nn.Module):
    def forward(self, x):
        return x + torch.tensor([0.0, -1.5])


def test_the_example_leaves_the_fit_alone():
    """Training passes of batch normalization, which the example takes, move its statistics."""
    train, validation = rows(8, 0), rows(500, 10)
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), least_squares(*train))
    alone = find(model, None, "overfit", data=(train, validation))
    assert find(model, 100 * torch.randn(8, 6), "overfit", data=(train, validation)) == alone


def test_data_that_do_not_fit_the_outputs():
    x, y = rows(8, 0)
    with pytest.raises(ValueError, match=r"classes from 0 to 0, .* got 0 to 1; give loss=\.\.\."):
        doctor(nn.Linear(6, 1), data=((x, torch.arange(8) % 2),) * 2)
    with pytest.raises(ValueError, match=r"Linear must run on the data .* RuntimeError: .*dtype"):
        doctor(nn.Linear(6, 1), data=((x.double(), y),) * 2)
    with pytest.raises(ValueError, match=r"without loss=..., the model must return logits"):
        doctor(nn.Linear(6, 3), data=(rows(8, 0), rows(8, 1)))
    with pytest.raises(ValueError, match=r"one number for each of 8 rows, got 1"):
        doctor(
            nn.Linear(6, 1),
            data=(rows(8, 0), rows(8, 1)),
            loss=lambda out, y: (out[:, 0] - y).square().mean(),
        )


def test_not_a_number():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    x, y = torch.randn(9, 4), torch.arange(9) % 2
    assert doctor(net, x).healthy
    nn.init.constant_(net[0].weight, float("nan"))
    for diagnosis in (doctor(net, x), doctor(net, data=((x, y), (x, y)))):
        assert [finding.check for finding in diagnosis.findings] == ["not-a-number"]


def test_other_noise_of_training_is_no_dropout():
    class Encoder(nn.Linear):
        def forward(self, x):
            z = super().forward(x)
            return z + torch.randn_like(z) if self.training else z

    x = torch.randn(8, 4)
    assert doctor(nn.Sequential(Encoder(4, 3), nn.Linear(3, 4)), x).healthy
    assert doctor(nn.Sequential(nn.Linear(4, 8), nn.RReLU(), nn.Linear(8, 2)), x).healthy
