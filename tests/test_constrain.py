"""Max-norm against explicit loops over units, and its promises to the bit."""

import math
import re
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.prune import l1_unstructured

from dropkit.constrain import max_norm_

F64 = torch.float64
C = 0.7


def clones(model):
    return {name: entry.detach().clone() for name, entry in model.state_dict().items()}


def bits(tensor):
    """The tensor's bit pattern: tells -0 from 0 and compares NaN with NaN."""
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    return tensor.detach().contiguous().view(integer)


def same_bits(a, b):
    return torch.equal(bits(a), bits(b))


def projected_by_connectivity(weight, output_by_unit):
    """Project unit by unit, where the weights of a unit are those its output depends on."""
    expected = weight.detach().clone()
    claimed = torch.zeros_like(weight)
    for output in output_by_unit:
        (sensitivity,) = torch.autograd.grad(output, weight, retain_graph=True)
        incoming = sensitivity != 0
        claimed += incoming
        norm = math.sqrt(float(expected[incoming].square().sum()))
        if norm > C:
            expected[incoming] *= C / norm
    assert torch.equal(claimed, torch.ones_like(claimed)), "each weight must feed one unit"
    return expected


def channels(layer, *shape):
    """One number for each output channel, that depends on every weight of the channel."""
    torch.manual_seed(1)
    outputs = layer(torch.randn(shape, dtype=F64))
    return [outputs[:, channel].square().sum() for channel in range(outputs.shape[1])]


CONNECTED = {
    "linear": (lambda: nn.Linear(5, 4), (7, 5)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3), (2, 4, 9)),
    "conv2d": (lambda: nn.Conv2d(4, 6, (2, 3), stride=2, padding=1), (2, 4, 7, 8)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2, dilation=2), (2, 2, 5, 5, 5)),
    "conv2d grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), (2, 4, 6, 6)),
    "conv1d depthwise": (lambda: nn.Conv1d(3, 6, 3, groups=3), (2, 3, 8)),
    "transpose1d": (lambda: nn.ConvTranspose1d(4, 6, 3), (2, 4, 9)),
    "transpose2d": (lambda: nn.ConvTranspose2d(4, 6, (2, 3), stride=2), (2, 4, 5, 5)),
    "transpose2d grouped": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), (2, 4, 5, 5)),
    "transpose1d depthwise": (lambda: nn.ConvTranspose1d(3, 6, 3, groups=3), (2, 3, 8)),
    "transpose3d": (lambda: nn.ConvTranspose3d(2, 3, 2, groups=1, stride=2), (1, 2, 3, 3, 3)),
}


@pytest.mark.parametrize("name", CONNECTED)
def test_matches_a_loop_over_what_each_unit_depends_on(name):
    build, shape = CONNECTED[name]
    torch.manual_seed(0)
    layer = build().double()
    bias = layer.bias.detach().clone()
    with torch.no_grad():
        layer.weight.mul_(3.0 * torch.rand_like(layer.weight))
    expected = projected_by_connectivity(layer.weight, channels(layer, *shape))
    assert not torch.equal(expected, layer.weight)
    max_norm_(layer, C)
    torch.testing.assert_close(layer.weight.detach(), expected, rtol=1e-14, atol=0)
    assert torch.equal(layer.bias, bias)


def test_bilinear_matches_a_loop_over_what_each_unit_depends_on():
    torch.manual_seed(0)
    layer = nn.Bilinear(3, 4, 5).double()
    outputs = layer(torch.randn(2, 3, dtype=F64), torch.randn(2, 4, dtype=F64))
    by_unit = [outputs[:, unit].square().sum() for unit in range(5)]
    expected = projected_by_connectivity(layer.weight, by_unit)
    max_norm_(layer, C)
    torch.testing.assert_close(layer.weight.detach(), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    "build", [lambda: nn.Embedding(6, 4, padding_idx=2), lambda: nn.EmbeddingBag(6, 4)]
)
def test_embeddings_by_word(build):
    torch.manual_seed(0)
    layer = build().double()
    expected = layer.weight.detach().clone()
    for word in range(6):
        norm = float(expected[word].norm())
        expected[word] *= min(1.0, C / norm) if norm else 1.0
    max_norm_(layer, C)
    torch.testing.assert_close(layer.weight.detach(), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("build", "weights"),
    [
        (lambda: nn.RNN(5, 4), 2),
        (lambda: nn.LSTM(5, 4, num_layers=2, bidirectional=True, proj_size=3), 12),
        (lambda: nn.GRU(5, 4), 2),
        (lambda: nn.LSTMCell(5, 4), 2),
        (lambda: nn.GRUCell(5, 4), 2),
        (lambda: nn.RNNCell(5, 4), 2),
        (lambda: nn.MultiheadAttention(4, 2, add_bias_kv=True), 2),
        (lambda: nn.MultiheadAttention(4, 2, kdim=3, vdim=5), 4),
    ],
)
def test_recurrent_and_attention_weights_by_row(build, weights):
    torch.manual_seed(0)
    layer = build().double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-2.0, 2.0)
    before = clones(layer)
    max_norm_(layer, C)
    projected = 0
    for name, after in layer.state_dict().items():
        old = before[name]
        if "weight" not in name:
            assert same_bits(after, old)
            continue
        projected += 1
        for row in range(len(old)):
            expected = old[row] * min(1.0, C / math.sqrt(float((old[row] ** 2).sum())))
            torch.testing.assert_close(after[row], expected, rtol=1e-14, atol=0)
    assert projected == weights


def test_whole_model_leaves_biases_and_norms_alone():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.PReLU(4),
        nn.GroupNorm(2, 4),
        nn.Flatten(),
        nn.Linear(16, 5),
        nn.LayerNorm(5),
        nn.RMSNorm(5),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(9.0)
    before = clones(model)
    assert max_norm_(model, 1.0) is model
    changed = {n for n, entry in model.state_dict().items() if not same_bits(entry, before[n])}
    assert changed == {"0.weight", "5.weight"}
    for name in changed:
        norms = model.state_dict()[name].flatten(1).norm(dim=1)
        torch.testing.assert_close(norms, torch.ones_like(norms), rtol=1e-6, atol=0)


def test_tied_weights_are_measured_once(monkeypatch):
    torch.manual_seed(0)
    model = nn.ModuleDict({"embed": nn.Embedding(6, 4), "decode": nn.Linear(4, 6, bias=False)})
    model["decode"].weight = model["embed"].weight
    model["same"] = model["decode"]
    measured = []
    vector_norm = torch.linalg.vector_norm
    monkeypatch.setattr(
        torch.linalg, "vector_norm", lambda *a, **k: measured.append(1) or vector_norm(*a, **k)
    )
    max_norm_(model, 1e6)
    assert len(measured) == 1
    max_norm_(model, 0.1)
    assert float(model["embed"].weight.norm(dim=1).max()) <= 0.1


def test_bare_weight_counts_units_in_the_first_dimension():
    weight = nn.Parameter(torch.tensor([[3.0, 4.0], [0.3, 0.4]]))
    assert max_norm_(weight, 1.0) is weight
    torch.testing.assert_close(weight.data, torch.tensor([[0.6, 0.8], [0.3, 0.4]]))
    assert weight.grad_fn is None
    weight = nn.Parameter(torch.tensor([[3.0, 0.3], [4.0, 0.4]]))
    max_norm_(weight.T, 1.0)
    torch.testing.assert_close(weight.data, torch.tensor([[0.6, 0.3], [0.8, 0.4]]))


def test_frozen_weights_in_a_model_stay_and_a_bare_one_is_projected():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    frozen = model[0].weight.requires_grad_(False)
    before = frozen.clone()
    max_norm_(model, 1e-3)
    assert same_bits(frozen, before)
    assert float(model[1].weight.norm(dim=1).max()) <= 1e-3
    max_norm_(frozen, 1e-3)
    assert float(frozen.norm(dim=1).max()) <= 1e-3


def test_inside_the_ball_nothing_is_written():
    model = nn.Sequential(nn.Linear(4, 4), nn.Conv1d(2, 2, 3))
    versions = [parameter._version for parameter in model.parameters()]
    max_norm_(model, 100.0)
    assert [parameter._version for parameter in model.parameters()] == versions


FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(0, 9),
    columns=st.integers(0, 300),
    scale=st.floats(1e-3, 1e3),
    c=st.floats(1e-2, 1e2),
    dtype=st.sampled_from(FLOATS),
    constant=st.booleans(),
)
def test_projects_once_and_for_all(seed, rows, columns, scale, c, dtype, constant):
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(rows, columns, dtype=F64, generator=generator)
    # Equal entries round in step with each other: the worst case for a norm.
    draw = torch.ones_like(draw) if constant else draw
    spread = torch.rand(rows, 1, dtype=F64, generator=generator) * 3.0
    before = (draw * scale * spread).to(dtype)
    after = max_norm_(before.clone(), c)
    exact = before.double().norm(dim=1, keepdim=True)
    eps = torch.finfo(dtype).eps
    measured = (columns + 4) * torch.finfo(torch.promote_types(dtype, torch.float32)).eps

    again = max_norm_(after.clone(), c)
    assert same_bits(again, after), "a second call must change nothing"

    inside = (exact <= c * (1 - measured)).flatten()
    assert same_bits(after[inside], before[inside]), "vectors inside must keep every bit"

    norms = after.double().norm(dim=1)
    assert bool((norms <= c * (1 + measured)).all())

    # On the sphere, up to the rounding of each entry and the two attempts it may take.
    outside = (exact > c * (1 + measured)).flatten()
    expected = (before.double() * (c / exact))[outside]
    tiny = torch.finfo(dtype).smallest_normal * eps
    slack = (4 * eps + measured) * expected.abs() + 2 * tiny
    assert bool(((after[outside].double() - expected).abs() <= slack).all())


@pytest.mark.parametrize("dtype", FLOATS)
def test_keeps_zeros_signed_zeros_and_vectors_on_the_sphere(dtype):
    weight = torch.tensor([[0.0, -0.0], [3.0, -4.0], [-0.0, 5.0], [30.0, -0.0]], dtype=dtype)
    after = max_norm_(weight.clone(), 5.0)
    assert same_bits(after[:3], weight[:3])
    assert after[3, 0] <= 5.0
    assert math.copysign(1.0, float(after[3, 1])) == -1.0


@pytest.mark.parametrize(
    ("dtype", "large"),
    [
        (torch.float16, 6e4),
        (torch.bfloat16, 3e38),
        (torch.float32, 3e38),
        (torch.float64, 1.7e308),
    ],
)
def test_norms_whose_squares_overflow(dtype, large):
    weight = torch.tensor([[large] * 64, [large] + [0.0] * 63, [0.1] * 64], dtype=dtype)
    small = weight[2].clone()
    max_norm_(weight, 2.0)
    torch.testing.assert_close(
        weight[0].double(), torch.full((64,), 0.25, dtype=F64), rtol=0.01, atol=0
    )
    torch.testing.assert_close(float(weight[1, 0]), 2.0, rtol=0.01, atol=0)
    assert same_bits(weight[2], small)
    assert same_bits(max_norm_(weight.clone(), 2.0), weight)


def test_vectors_that_hold_nan_or_infinity_keep_every_bit():
    broken = torch.tensor(
        [[math.nan, 9.0, -0.0], [math.inf, 9.0, 1.0], [-math.inf, math.nan, 0.0], [9.0, 0.0, 0.0]]
    )
    after = max_norm_(broken.clone(), 1.0)
    assert same_bits(after[:3], broken[:3])
    torch.testing.assert_close(after[3], torch.tensor([1.0, 0.0, 0.0]), rtol=1e-6, atol=0)


def test_does_not_enter_the_graph():
    layer = nn.Linear(3, 3)
    loss = layer(torch.ones(1, 3)).sum()
    loss.backward()
    max_norm_(layer, 0.1)
    assert layer.weight.is_leaf
    assert layer.weight.requires_grad
    with torch.enable_grad():
        assert max_norm_(layer.weight, 0.01).grad_fn is None


@pytest.mark.parametrize("c", [0, -1.0, math.nan, math.inf])
def test_refuses_a_radius_that_is_none(c):
    with pytest.raises(ValueError, match="c must be a finite number above 0"):
        max_norm_(nn.Linear(2, 2), c)


def test_refuses_what_it_cannot_project():
    with pytest.raises(ValueError, match="none of its modules is of a known type"):
        max_norm_(nn.Sequential(nn.ReLU(), nn.LayerNorm(3)), 1.0)
    with pytest.raises(ValueError, match="all 1 of its weights are frozen"):
        max_norm_(nn.Linear(2, 2).requires_grad_(False), 1.0)
    with pytest.raises(ValueError, match=r"two or more dimensions.*shape \(3,\).*weight\[None\]"):
        max_norm_(nn.Parameter(torch.ones(3)), 1.0)
    with pytest.raises(TypeError, match=r"got torch\.int64"):
        max_norm_(torch.ones(2, 2, dtype=torch.int64), 1.0)
    with pytest.raises(TypeError, match="got list"):
        max_norm_([nn.Linear(2, 2)], 1.0)
    with pytest.raises(ValueError, match=r"0\.weight must be initialized"):
        max_norm_(nn.Sequential(nn.LazyLinear(3)), 1.0)


COMPUTED = {
    "parametrized": nn.utils.parametrizations.weight_norm,
    "weight_norm": nn.utils.weight_norm,
    "pruned": lambda layer: l1_unstructured(layer, "weight", 0.3),
}


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("how", COMPUTED)
def test_computed_weights_are_left_with_a_warning(how):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), COMPUTED[how](nn.Linear(3, 3)))
    before = {name: p.detach().clone() for name, p in model[1].named_parameters()}
    with pytest.warns(
        UserWarning, match=r"skips 1\.weight \(is computed from others\); to project"
    ):
        max_norm_(model, 0.1)
    assert float(model[0].weight.detach().norm(dim=1).max()) <= 0.1
    assert all(torch.equal(p, before[name]) for name, p in model[1].named_parameters())
    with pytest.raises(ValueError, match=r"but weight \(is computed from others\)"):
        max_norm_(model[1], 0.1)


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Parameter(torch.ones(2, 3, 4))
        self.relative_position_bias = nn.Parameter(torch.ones(2, 3))
        self.token = nn.Parameter(torch.ones(1, 1, 4))
        self.frozen = nn.Parameter(torch.ones(3, 4), requires_grad=False)
        self.norm = nn.LayerNorm((3, 4))
        self.positions = nn.Parameter(torch.ones(5, 4))


def test_parameters_of_unknown_layout_are_left_with_a_warning():
    model = nn.Sequential(Experts(), nn.Linear(3, 3))
    why = "(has an unknown layout)"
    names = f"0.up {why}, 0.relative_position_bias {why}, 0.positions {why}; to project"
    with pytest.warns(UserWarning, match=re.escape(names)) as caught:
        max_norm_(model, 0.1)
    assert caught[0].filename == __file__
    assert all(bool((p == 1).all()) for p in model[0].parameters() if p.dim() > 2 or len(p) == 5)
    with pytest.raises(ValueError, match=r"but up \(has an unknown layout\), relative"):
        max_norm_(model[0], 0.1)


class LowRank(nn.Linear):
    """As LoRA adds factors to a layer."""

    def __init__(self):
        super().__init__(3, 4)
        self.down, self.up = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(4, 2))

    def forward(self, x):
        return super().forward(x) + x @ self.down.T @ self.up.T


class MarginNorm(nn.Module):
    """A layer of classes that ends in the name of a normalization."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 3))


@pytest.mark.parametrize(
    ("layer", "names"), [(LowRank, "0.down {}, 0.up {};"), (MarginNorm, "0.weight {};")]
)
def test_no_weight_is_passed_over_in_silence(layer, names):
    model = nn.Sequential(layer(), nn.Linear(3, 3))
    with pytest.warns(UserWarning, match=re.escape(names.format(*["(has an unknown layout)"] * 2))):
        max_norm_(model, 0.1)
    assert float(model[1].weight.detach().norm(dim=1).max()) <= 0.1


def test_conv1d_of_transformers_stores_units_in_columns():
    utils = pytest.importorskip("transformers.pytorch_utils")
    torch.manual_seed(0)
    layer = utils.Conv1D(6, 4)
    nn.init.normal_(layer.weight)
    expected = max_norm_(layer.weight.detach().clone().T, 0.5).T
    with warnings.catch_warnings(action="error"):
        max_norm_(layer, 0.5)
    assert torch.equal(layer.weight, expected)
    assert float(layer.weight.detach().norm(dim=0).max()) <= 0.5
    assert float(layer.weight.detach().norm(dim=1).max()) > 0.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_numbers_are_measured_in_float32(dtype):
    """A norm above c by less than half a step of the narrow type is above it."""
    above = 1 + torch.finfo(dtype).eps / 4
    weight = torch.full((1, 4), 0.5, dtype=dtype)
    c = 1 / above
    assert torch.tensor(c, dtype=dtype) == torch.linalg.vector_norm(weight, dtype=dtype)
    assert max_norm_(weight, c).double().norm() <= c
