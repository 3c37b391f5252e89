"""Layers fall whole and for the whole batch, and no parameter goes without a gradient."""

import copy
import itertools
import math
import pickle
from types import SimpleNamespace

import pytest
import torch
import torch._dynamo.testing
from torch import nn

from dropkit._checks import check_not_recorded
from dropkit.noise._layer_drop import LayerDrop
from dropkit.prediction._sampling import sampling


class Affine(nn.Module):
    """x ↦ a·x + b with numbers of its own: the result tells which layers ran."""

    def __init__(self, depth):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(1.0 + 0.3 * depth, dtype=torch.float64))
        self.b = nn.Parameter(torch.tensor(0.7 * depth - 1.0, dtype=torch.float64))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.a * x + self.b


def affine(count, p):
    return LayerDrop([Affine(depth) for depth in range(1, count + 1)], p)


def test_every_set_of_layers_has_its_probability():
    p, calls = 0.3, 8000
    model = affine(3, p)
    x = torch.tensor([0.5, -2.0], dtype=torch.float64)
    with torch.no_grad():
        drawn = torch.stack([model(x) for _ in range(calls)])
        total = 0
        for kept in itertools.product((False, True), repeat=3):
            y = x
            for layer, runs in zip(model.layers, kept, strict=True):
                y = layer(y) if runs else y
            seen = int((drawn - y).abs().amax(1).lt(1e-12).sum())
            total += seen
            chance = math.prod(1 - p if runs else p for runs in kept)
            assert abs(seen / calls - chance) < 5 * math.sqrt(chance * (1 - chance) / calls)
    assert total == calls


@pytest.mark.parametrize("seed", range(6))
def test_skipped_layers_do_not_run_and_have_gradients_of_zero(seed):
    model = affine(6, 0.5)
    model.layers[1].b.requires_grad_(False)
    x = torch.randn(4, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(seed)
    keep = (model.drop(torch.ones(6)) > 0).tolist()
    torch.manual_seed(seed)
    y = model(x)
    assert [layer.calls for layer in model.layers] == [int(kept) for kept in keep]

    y.square().sum().backward()
    reference = x.detach().clone().requires_grad_()
    z = reference
    for layer, kept in zip(model.layers, keep, strict=True):
        z = layer.a.detach() * z + layer.b.detach() if kept else z
    z.square().sum().backward()
    torch.testing.assert_close(x.grad, reference.grad, rtol=1e-13, atol=0)
    for layer, kept in zip(model.layers, keep, strict=True):
        assert (float(layer.a.grad) != 0) == kept
    assert model.layers[1].b.grad is None


def test_rate_zero_rate_one_and_evaluation():
    x = torch.randn(5, 4)
    model = LayerDrop([nn.Linear(4, 4) for _ in range(3)], 0.0)
    expected = nn.Sequential(*model.layers)(x)
    assert torch.equal(model(x), expected)
    model.drop.p = 1.0
    assert torch.equal(model(x), x)
    model(x).sum().backward()
    assert all(float(weight.grad.abs().max()) == 0 for weight in model.parameters())
    state = torch.get_rng_state()
    assert torch.equal(model.eval()(x), expected)
    assert torch.equal(torch.get_rng_state(), state)
    assert model(x[:0]).shape == model.train()(x[:0]).shape == (0, 4)


def test_no_gradient_is_asked_for_where_none_is_wanted():
    model = LayerDrop([nn.Linear(4, 4)], 1.0)
    with torch.no_grad():
        assert not model(torch.ones(2, 4)).requires_grad
    model.requires_grad_(False)
    assert not model(torch.ones(2, 4)).requires_grad


def test_further_arguments_reach_every_layer():
    layers = [nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True) for _ in "ab"]
    x, mask = torch.randn(3, 5, 8), torch.zeros(3, 5, dtype=torch.bool)
    mask[:, 3:] = True
    expected = layers[1](layers[0](x, src_key_padding_mask=mask), src_key_padding_mask=mask)
    y = LayerDrop(layers, 0.0)(x, src_key_padding_mask=mask)
    torch.testing.assert_close(y, expected)
    assert not torch.allclose(LayerDrop(layers, 0.0)(x), expected)


def test_pruning_takes_every_nth_layer_of_a_copy():
    model = affine(5, 0.4).eval()
    pruned = model.every(2)
    found = [layer.a.item() for layer in pruned.layers]
    assert found == [model.layers[depth].a.item() for depth in (0, 2, 4)]
    assert pruned.drop.p == 0.4
    assert not pruned.training
    assert pruned.layers[0].a is not model.layers[0].a
    assert len(model.layers) == len(model.every(1).layers) == 5
    for n in (0, 1.5):
        with pytest.raises(ValueError, match=f"n must be an int, 1 or more, got {n}"):
            model.every(n)


def test_compiled_and_mapped_equal_eager():
    model = LayerDrop([nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(5)], 0.5)
    x = torch.randn(3, 4)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for seed in range(4):
        results = []
        for run in (model, compiled):
            torch.manual_seed(seed)
            y = run(x)
            results.append((y, *torch.autograd.grad(y.square().sum(), model.parameters())))
        torch.testing.assert_close(*results)
    many = torch.func.vmap(model, randomness="different")(x.expand(300, 3, 4))
    every = {tuple((y * 1e4).round().long().flatten().tolist()) for y in many.detach()}
    assert 16 < len(every) <= 32  # of the 2⁵ sets of layers


def test_rate_changes_do_not_compile_again():
    model = LayerDrop([nn.Linear(4, 4) for _ in range(2)], 0.5)
    x = torch.randn(3, 4)
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for p in (0.5, 0.2, 0.7, 1.0):
        model.drop.p = p
        y = compiled(x)
    assert counter.frame_count == 1
    assert torch.equal(y, x)


def test_exports_in_evaluation_without_drawing():
    model = LayerDrop([nn.Linear(4, 4) for _ in range(2)], 0.5).eval()
    x = torch.randn(3, 4)
    program = torch.export.export(model, (x,))
    assert torch.equal(program.module()(x), model(x))
    assert not any("dropkit" in str(node.target) for node in program.graph.nodes)


def test_sampling_switches_it_on():
    model = LayerDrop([nn.Linear(4, 4) for _ in range(4)], 0.5).eval()
    x = torch.randn(2, 4)
    with sampling(model) as switches:
        assert "drop" in switches.switched_on
        assert len({model(x).sum().item() for _ in range(20)}) > 5


def test_copies_and_checkpoints():
    model = LayerDrop([nn.Linear(4, 4) for _ in range(4)], 0.5)
    assert list(model.state_dict())[:2] == ["layers.0.weight", "layers.0.bias"]
    x = torch.randn(2, 4)
    results = []
    for twin in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.manual_seed(1)
        results.append(twin(x))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_refuses_what_cannot_be_skipped():
    with pytest.raises(ValueError, match=r"its input, \(3, 4\), so that it can be skipped; Linear"):
        LayerDrop([nn.Linear(4, 2)], 0.0)(torch.ones(3, 4))
    with pytest.raises(ValueError, match="LSTM returned tuple"):
        LayerDrop([nn.LSTM(4, 4)], 0.0)(torch.ones(3, 4))
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
        LayerDrop([], 1.5)


def test_what_follows_a_skipped_layer_may_work_in_place():
    x = torch.randn(3, 4)
    inside = LayerDrop([nn.Linear(4, 4), nn.ReLU(inplace=True)], p=1.0)
    for net in (nn.Sequential(inside, nn.ReLU(inplace=True)), inside):
        before = x.clone().requires_grad_()
        y = net(before * 1)
        y.sum().backward()
        assert torch.equal(before, x)
        assert before.grad is not None


def test_a_cuda_graph_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(RuntimeError, match="LayerDrop cannot be recorded in a CUDA graph"):
        check_not_recorded(SimpleNamespace(is_cuda=True), "LayerDrop")
    check_not_recorded(torch.ones(1), "LayerDrop")
