"""Recurrent weights fall for one sequence, in the fused kernel, and not for good."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torch.nn.utils.rnn import pack_padded_sequence

from dropkit.noise._weight_drop import WeightDrop

RNNS = [
    nn.LSTM(3, 5),
    nn.LSTM(3, 5, num_layers=2, bidirectional=True, batch_first=True),
    nn.LSTM(3, 5, proj_size=2),
    nn.GRU(3, 5, num_layers=2),
    nn.RNN(3, 5, bias=False),
]


def by_hand(model, x, seed):
    """The layer with the same masks written into the weights of a copy."""
    torch.manual_seed(seed)
    rnn = copy.deepcopy(model.rnn)
    with torch.no_grad():
        for name in rnn._flat_weights_names:
            if name.startswith("weight_hh"):
                weight = getattr(rnn, name)
                weight.copy_(model.drop(weight))
    return rnn(x)[0]


@pytest.mark.parametrize("rnn", RNNS, ids=lambda rnn: str(rnn))
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_is_the_layer_with_dropped_recurrent_weights(rnn, p):
    model, x = WeightDrop(rnn, p), torch.randn(4, 6, 3)
    before = {name: w.detach().clone() for name, w in rnn.named_parameters()}
    torch.manual_seed(1)
    y = model(x)[0]
    torch.testing.assert_close(y, by_hand(model, x, 1))
    if 0 < p < 1:
        assert not torch.allclose(y, rnn(x)[0])
    for name, weight in rnn.named_parameters():
        assert torch.equal(weight, before[name])


def test_the_gradient_is_that_of_the_kept_weights():
    model, x = WeightDrop(nn.GRU(3, 5), 0.5), torch.randn(4, 6, 3)
    torch.manual_seed(1)
    model(x)[0].square().sum().backward()
    torch.manual_seed(1)
    noise = model.drop(torch.ones(15, 5))
    gradient = model.rnn.weight_hh_l0.grad
    assert bool(((gradient == 0) == (noise == 0)).all())
    assert all(bool(w.grad.any()) for w in model.parameters())


def test_every_weight_lives_on():
    """After many steps, all have moved: none is left at zero or out of training."""
    torch.manual_seed(0)
    model = WeightDrop(nn.LSTM(3, 4), 0.5)
    before = {name: w.detach().clone() for name, w in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(4, 6, 3)
    for _ in range(12):
        optimizer.zero_grad()
        model(x)[0].square().sum().backward()
        optimizer.step()
    for name, weight in model.named_parameters():
        assert bool((weight != 0).all()), name
        assert bool((weight != before[name]).all()), name


def test_evaluation_sees_the_trained_weights():
    model, x = WeightDrop(nn.LSTM(3, 4), 0.5), torch.randn(4, 6, 3)
    model(x)
    with torch.no_grad():
        model.rnn.weight_hh_l0.fill_(0.25)
    model.eval()
    state = torch.get_rng_state()
    y = model(x)[0]
    assert torch.equal(torch.get_rng_state(), state)
    plain = nn.LSTM(3, 4)
    plain.load_state_dict(model.rnn.state_dict())
    assert torch.equal(y, plain(x)[0])


def test_packed_sequences_states_and_precision():
    model = WeightDrop(nn.LSTM(3, 4, dtype=torch.float64), 0.5)
    packed = pack_padded_sequence(torch.randn(5, 2, 3, dtype=torch.float64), [5, 3])
    state = (torch.zeros(1, 2, 4, dtype=torch.float64),) * 2
    y, (h, _) = model(packed, state)
    assert y.data.dtype == torch.float64
    assert h.shape == (1, 2, 4)


def test_copies_and_replaced_parameters():
    model, x = WeightDrop(nn.LSTM(3, 4), 0.5), torch.randn(4, 6, 3)

    def draw(model, parameters=None):
        torch.manual_seed(2)
        if parameters is None:
            return model(x)[0]
        return functional_call(model, parameters, (x,))[0]

    expected = draw(model)
    assert torch.equal(draw(copy.deepcopy(model)), expected)
    assert torch.equal(draw(pickle.loads(pickle.dumps(model))), expected)
    doubled = {name: 2 * w for name, w in model.named_parameters()}
    other = copy.deepcopy(model)
    other.load_state_dict(doubled)
    assert torch.equal(draw(model, doubled), draw(other))
    assert torch.equal(draw(model), expected)


def test_exports_in_evaluation():
    model, x = WeightDrop(nn.LSTM(3, 4), 0.5).eval(), torch.randn(4, 6, 3)
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x)[0], model(x)[0])


COMPUTED = {
    "weight_norm": weight_norm,
    "spectral_norm": spectral_norm,
    "pruned": lambda rnn, name: prune.l1_unstructured(rnn, name, 0.3),
    "orthogonal": parametrizations.orthogonal,
    "parametrized weight_norm": parametrizations.weight_norm,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", COMPUTED)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_computed_weights_are_dropped_as_computed(how, kind):
    torch.manual_seed(0)
    rnn = COMPUTED[how](kind(3, 5), "weight_hh_l0")
    model, x = WeightDrop(rnn, 0.5), torch.randn(4, 6, 3)
    plain = kind(3, 5)
    with torch.no_grad():
        rnn.eval()(x)
        for name, weight in plain.named_parameters():
            weight.copy_(getattr(rnn, name))
    assert torch.equal(model.eval()(x)[0], plain(x)[0])
    rnn.eval()  # where spectral_norm takes no step
    model.drop.train()
    torch.manual_seed(1)
    y = model(x)[0]
    torch.manual_seed(1)
    with torch.no_grad():
        plain.weight_hh_l0.copy_(model.drop(plain.weight_hh_l0))
    torch.testing.assert_close(y, plain(x)[0])
    y.square().sum().backward()
    assert all(bool(w.grad.any()) for w in model.parameters())
    torch.testing.assert_close(model.eval()(x)[0], rnn(x)[0])


def test_refuses_other_layers():
    with pytest.raises(TypeError, match=r"nn\.LSTM, nn\.GRU or nn\.RNN, got Linear"):
        WeightDrop(nn.Linear(2, 2))


class Looped(nn.GRU):
    """A forward pass of its own, which reads the weights by name."""

    def forward(self, x):
        h, steps = x.new_zeros(1, self.hidden_size), []
        for row in x:
            given = nn.functional.linear(row[None], self.weight_ih_l0, self.bias_ih_l0)
            kept = nn.functional.linear(h, self.weight_hh_l0, self.bias_hh_l0)
            (r, z, n), (u, v, w) = given.chunk(3, 1), kept.chunk(3, 1)
            z = (z + v).sigmoid()
            h = (1 - z) * (n + (r + u).sigmoid() * w).tanh() + z * h
            steps.append(h[0])
        return torch.stack(steps), h


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", [None, weight_norm, parametrizations.weight_norm])
def test_a_forward_pass_that_reads_weights_by_name_gets_the_dropped_ones(how):
    torch.manual_seed(0)
    plain, own, x = nn.GRU(3, 5), Looped(3, 5), torch.randn(6, 3)
    own.load_state_dict(plain.state_dict())
    if how is not None:
        plain, own = how(plain, "weight_hh_l0"), how(own, "weight_hh_l0")
    fused, looped = WeightDrop(plain, 0.5), WeightDrop(own, 0.5)
    torch.manual_seed(1)
    expected = fused(x)[0]
    torch.manual_seed(1)
    torch.testing.assert_close(looped(x)[0], expected)
    assert not torch.allclose(expected, looped.eval()(x)[0])


@pytest.mark.filterwarnings("ignore")
def test_a_quantized_layer_is_refused_in_training_only():
    model, x = nn.Sequential(WeightDrop(nn.LSTM(3, 4), 0.5)).eval(), torch.randn(4, 6, 3)
    quantized = torch.ao.quantization.quantize_dynamic(model, {nn.LSTM})
    assert type(quantized[0].rnn) is not nn.LSTM
    torch.testing.assert_close(quantized(x)[0], model(x)[0], rtol=0, atol=0.05)
    with pytest.raises(TypeError, match=r"weights of LSTM of torch\.ao.* cannot be dropped"):
        quantized.train()(x)
