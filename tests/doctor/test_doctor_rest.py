"""What the doctor measures, what it leaves alone, and what it says when it cannot."""

import random
from collections import OrderedDict, UserDict
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules import module as hooks
from torch.nn.utils import prune

from dropkit import noise
from dropkit._doctor import Diagnosis, Finding, doctor
from dropkit._doctor.watch import for_dropout
from dropkit.prediction._sampling import sampling
from helpers.patients import (
    IMAGES,
    PATIENTS,
    Always,
    Around,
    Functional,
    LayerDrop,
    Listed,
    Noisy,
    OnlyInTraining,
    OwnGeneratorDropout,
    X,
    cnn,
    find,
    mlp,
)


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
    ratio, error = (float(part.split()[0]) for part in found.evidence.split("is ")[1].split(" ± "))
    assert error <= 0.01
    assert abs(ratio - 1 / (1 - p)) <= 4 * error + 0.005  # as printed


def test_a_shift_too_small_to_matter_is_no_finding():
    torch.manual_seed(0)
    x = torch.randn(4000, 6)
    assert doctor(nn.Sequential(nn.Dropout(0.05), nn.BatchNorm1d(6), nn.Linear(6, 2)), x).healthy


def test_says_where_in_the_code():
    found = find(Around(Always()), X, "functional-dropout")
    assert "patients.py:" in found.evidence
    assert found.path == "middle"


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.Dropout(0.5), "Dropout"),
        (nn.Sequential(nn.Linear(6, 6), Functional()), "Sequential"),
        (nn.TransformerEncoderLayer(6, 2, 12), "TransformerEncoderLayer"),
    ],
)
def test_a_layer_that_is_no_submodule_is_named_and_helped_by_being_one(layer, kind):
    model = Listed(layer)
    found = {f for f in doctor(model, X).findings if f.check == "dropout-stays-on"}
    assert all(f"does not reach the {kind} that it calls" in f.evidence for f in found)
    assert all("patients.py:" in f.evidence and f"create the {kind} in" in f.remedy for f in found)
    assert found
    model.layers = nn.ModuleList(model.layers)
    assert doctor(model, X).healthy


class MadeInForward(nn.Module):
    def forward(self, x):
        return nn.Dropout(0.5)(x)


def test_a_layer_made_at_each_call_is_no_submodule():
    assert "which is not a submodule" in find(mlp(MadeInForward()), X, "dropout-stays-on").evidence


def test_what_only_training_calls_is_sampled_as_the_remedy_says():
    model = OnlyInTraining(nn.Dropout(0.5)).eval()
    assert "the module that calls it to sampling" in find(model, X, "no-variance").remedy
    with sampling(model, extra_modules=[model]):
        assert not torch.equal(model(X), model(X))


FUSED = {
    "_scaled_dot_product_flash_attention": "attention-dropout",
    "_scaled_dot_product_efficient_attention": "attention-dropout",
    "_scaled_dot_product_cudnn_attention": "attention-dropout",
    "_efficient_attention_forward": "attention-dropout",
    "_cudnn_rnn": "functional-dropout",
    "native_dropout": "functional-dropout",
    "rrelu_with_noise": "nondeterministic-eval",
}


class Fused(nn.Module):
    """Calls a stand-in for a kernel of a GPU, which draws and is seen by its name alone."""

    def __init__(self, operation):
        super().__init__()
        self.operation = operation

    def forward(self, x):
        return getattr(torch.ops.dropkit_tests, self.operation)(x)


@pytest.mark.parametrize("operation", FUSED)
def test_fused_kernels_are_known_by_their_names(operation):
    with torch.library._scoped_library("dropkit_tests", "FRAGMENT") as library:
        library.define(f"{operation}(Tensor x) -> Tensor", tags=torch.Tag.nondeterministic_seeded)
        library.impl(operation, lambda x: x * torch.rand_like(x), "CPU")
        found = doctor(mlp(Fused(operation)), X).findings
    assert [(f.check, f.path) for f in found] == [(FUSED[operation], "2")]


def test_whatever_recurrent_layers_draw_is_for_dropout():
    assert for_dropout("random_", nn.LSTM(3, 2))
    assert not for_dropout("random_", nn.Linear(3, 2))


def test_linear_drop_path_rates_begin_with_0_and_that_is_meant():
    def blocks(*rates):
        return nn.Sequential(*(noise.StochasticDepth(nn.Linear(6, 6), p) for p in rates))

    assert doctor(blocks(0.0, 0.1), X).healthy
    assert find(blocks(0.0, 0.0), X, "rate").evidence.endswith("as in all 2 dropout layers")


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


def test_an_output_without_tensors_is_skipped_with_the_reason():
    diagnosis = doctor(Returns(lambda y: y.tolist(), mlp(nn.Dropout(0.5))), X)
    assert diagnosis.healthy
    assert diagnosis.skipped[0].startswith("whether two runs differ: the model's output contains")


def test_a_model_that_fails_in_training_is_skipped_with_the_reason():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 2), nn.Dropout(0.5))
    diagnosis = doctor(model, X[:1])
    assert diagnosis.healthy
    assert "training mode it fails, ValueError: Expected more than 1 value" in diagnosis.skipped[0]
    assert "not examined: placement" in str(diagnosis)


class TwoOutputsWithDropout(nn.Module):
    def forward(self, x):
        return (nn.functional.dropout(x, 0.5, self.training), x) if self.training else x


def test_a_model_that_fails_while_sampling_is_skipped_with_the_reason():
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
    with pytest.raises(ValueError, match="cannot be copied"):
        doctor(model, X)


@pytest.mark.parametrize(
    "norm",
    [nn.utils.weight_norm, nn.utils.spectral_norm, lambda m: prune.l1_unstructured(m, "weight", 2)],
)
def test_copies_weights_that_hooks_compute(norm):
    model = nn.Sequential(norm(nn.Linear(6, 16)), nn.Dropout(0.5), nn.Linear(16, 3))
    model(X)
    before = model[0].weight
    assert not before.is_leaf
    assert doctor(model, X) == Diagnosis(())
    assert model[0].weight is before


def test_errors_come_first_notes_last_and_text_holds_everything():
    model = nn.Sequential(nn.Dropout(0.0), Always(), nn.Linear(6, 3), nn.Dropout(0.5))
    diagnosis = doctor(model, X)
    assert [f.check for f in diagnosis.findings] == ["functional-dropout", "on-output", "rate"]
    assert str(Finding("doubled", "", "warning", "evidence", "remedy")) == (
        "warning: the model: evidence [doubled]\n    remedy"
    )
    assert diagnosis.to_dict()["findings"][1]["path"] == "3"


def test_notes_leave_a_model_healthy():
    diagnosis = doctor(mlp(nn.Dropout(0.0)), X)
    assert diagnosis.healthy
    assert str(diagnosis).startswith("note: 2: p = 0 drops nothing [rate]")
    assert not doctor(mlp(nn.Dropout(1.0)), X).healthy


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
