"""Exported programs: nothing in evaluation; in training torch's own dropout, and ONNX's."""

import io

import pytest
import torch
from torch import nn

from dropkit.noise import (
    AlphaDropout,
    DropBlock2d,
    DropConnect,
    Dropout,
    Dropout2d,
    DropPath,
    GaussianDropout,
    LayerDrop,
    LockedDropout,
    MultiSampleDropout,
    StochasticDepth,
    WordDropout,
    Zoneout,
)
from dropkit.prediction import predict, sampling

ROWS = torch.arange(1.0, 33.0).view(4, 8)
Z = 4.5  # standard errors


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), Dropout(0.5), nn.ReLU(), GaussianDropout(0.3))


def targets(program):
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


def test_export_in_evaluation_has_no_dropout():
    program = torch.export.export(model().eval(), (torch.randn(2, 64),))
    assert targets(program) == ["aten.linear.default", "aten.relu.default"]
    assert set(program.state_dict) == {"0.weight", "0.bias"}


def test_other_noise_is_exported_as_it_is():
    layer, x = nn.Sequential(nn.Linear(8, 8), GaussianDropout(0.3)), ROWS.clone().requires_grad_()
    exported = torch.export.export(layer, (x,)).module()
    found = []
    for function in (layer, exported):
        torch.manual_seed(1)
        y = function(x)
        found.append((y, *torch.autograd.grad(y.sum(), x)))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


def test_dropout_of_a_seed_is_exported_with_its_mask():
    class Fixed(nn.Module):
        def forward(self, x):
            from dropkit.functional import dropout

            return dropout(x, 0.5, seed=3)

    exported = torch.export.export(Fixed(), (ROWS,)).module()
    assert torch.equal(exported(ROWS), Fixed()(ROWS))


PRODUCTS = {
    "dropout": (lambda: Dropout(0.25), ROWS),
    "shared": (lambda: Dropout(0.25, shared_dims=(0,)), ROWS),
    "channels": (lambda: Dropout2d(0.25), ROWS.view(4, 2, 2, 2)),
    "path": (lambda: DropPath(0.25), ROWS),
    "locked": (lambda: LockedDropout(0.25), ROWS.view(4, 4, 2)),
    "words": (lambda: WordDropout(0.25, unknown=0), ROWS.long()),
    "weights": (lambda: DropConnect(nn.Linear(8, 8), 0.25), ROWS),
    "stochastic depth": (lambda: StochasticDepth(nn.Linear(8, 8), 0.25), ROWS),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_dropout_is_exported_as_torchs_own_which_tools_switch_off(name):
    make, x = PRODUCTS[name]
    torch.manual_seed(0)
    layer = make().train()
    program = torch.export.export(layer, (x,))
    assert not [target for target in targets(program) if "dropkit" in target]
    exported = program.module()
    seen = [exported(x) for _ in range(10)]
    assert any(not torch.equal(seen[0], other) for other in seen)
    # What model.eval() of torchao does to aten.dropout.
    for node in exported.graph.find_nodes(
        op="call_function", target=torch.ops.aten.dropout.default
    ):
        node.args = (*node.args[:2], False)
    exported.recompile()
    torch.testing.assert_close(exported(x), layer.eval()(x))


def test_exported_dropout_has_the_rate_of_the_layer():
    exported = torch.export.export(Dropout(0.2).train(), (torch.ones(100_000),)).module()
    y = exported(torch.ones(100_000))
    assert y.unique().tolist() == [0.0, 1.25]
    assert abs((y == 0).double().mean().item() - 0.2) < Z * (0.16 / 100_000) ** 0.5


@pytest.mark.parametrize("layer", [AlphaDropout(0.3), Zoneout(0.3)])
def test_masks_with_another_evaluation_are_left_to_dropkit(layer):
    x = (ROWS, ROWS + 1) if isinstance(layer, Zoneout) else (ROWS,)
    program = torch.export.export(layer.train(), x)
    assert "dropkit.multiply.default" in targets(program)
    assert "aten.dropout.default" not in targets(program)


def exported_to_onnx(model, x, dynamo):
    """Return a function that runs the ONNX model in ONNX's reference implementation."""
    onnx = pytest.importorskip("onnx", reason="running ONNX models needs onnx")
    pytest.importorskip("onnxscript", reason="exporting to ONNX needs onnxscript")
    from onnx.reference import ReferenceEvaluator

    file = io.BytesIO()
    mode = {} if dynamo else {"training": torch.onnx.TrainingMode.PRESERVE}
    torch.onnx.export(model, (x,), file, dynamo=dynamo, verbose=False, **mode)
    loaded = onnx.load_from_string(file.getvalue())
    session = ReferenceEvaluator(loaded)
    run = lambda x: torch.tensor(session.run(None, {session.input_names[0]: x.numpy()})[0])  # noqa: E731
    return run, [node.op_type for node in loaded.graph.node]


onnx_warnings = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def quietly(test):
    for mark in onnx_warnings:
        test = mark(test)
    return test


@quietly
def test_onnx_export_in_evaluation_has_no_dropout():
    _, operators = exported_to_onnx(model().eval(), torch.randn(2, 64), True)
    assert not any("ropout" in operator for operator in operators)


@quietly
@pytest.mark.parametrize("dynamo", [True, False])
def test_monte_carlo_dropout_in_onnx_has_the_moments_of_predict(dynamo):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), Dropout(0.3), nn.Linear(16, 2)).eval()
    x, samples = torch.randn(5, 3), 2000
    with sampling(net):
        run, operators = exported_to_onnx(net, x, dynamo)
    assert "Dropout" in operators
    drawn = torch.stack([run(x) for _ in range(samples)])
    found = predict(net, x, 20_000, seed=0)
    error = (found.variance / samples).sqrt()
    assert ((drawn.mean(0) - found.mean).abs() < Z * error * 1.1).all()
    # The variance of a variance is at most some 2·variance²/samples for these sums of many units.
    assert (drawn.var(0) / found.variance - 1).abs().max() < 0.25


ONNX = PRODUCTS | {
    "gaussian": (lambda: GaussianDropout(0.25), ROWS),
    "alpha": (lambda: AlphaDropout(0.25), ROWS),
    "layer drop": (lambda: LayerDrop([nn.Linear(8, 8) for _ in range(9)], 0.25), ROWS),
    "several masks": (lambda: MultiSampleDropout(nn.Linear(8, 8), 0.25), ROWS),
}


@quietly
@pytest.mark.parametrize("name", ONNX)
def test_onnx_models_draw_in_every_run(name):
    """The exporter's optimizer takes Dropout of a constant for a constant."""
    make, x = ONNX[name]
    run, _ = exported_to_onnx(make().train(), x, True)
    seen = [run(x) for _ in range(8)]
    assert any(not torch.equal(seen[0], other) for other in seen)


@quietly
@pytest.mark.parametrize("dynamo", [True, False])
def test_noise_that_onnx_cannot_draw_is_refused(dynamo):
    with pytest.raises(Exception, match="cannot be exported to ONNX") as caught:
        exported_to_onnx(DropBlock2d(0.3, 3).train(), ROWS.view(1, 1, 4, 8), dynamo)
    assert "export the model in evaluation" in f"{caught.value} {caught.value.__cause__}"
