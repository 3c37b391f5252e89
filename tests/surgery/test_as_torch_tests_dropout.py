"""What PyTorch's own tests ask of its dropout layers holds of those that replace them.

Written anew from what the tests of ``torch.nn`` mean. Different, and documented, are layers with
``inplace=True``, which write a new tensor.
"""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from dropkit.surgery import replace

UNITWISE = {
    nn.Dropout: (1000, 50),
    nn.Dropout1d: (200, 50, 5),
    nn.Dropout2d: (200, 50, 2, 3),
    nn.Dropout3d: (200, 50, 2, 1, 3),
}
ALPHA = {nn.AlphaDropout: (1000, 50), nn.FeatureAlphaDropout: (200, 250, 1, 1)}
KINDS = UNITWISE | ALPHA


def twin(kind, *args, **kwargs):
    layer, report = replace(kind(*args, **kwargs))
    assert report.changed == ("",)
    assert type(layer).__module__.startswith("dropkit.")
    torch.manual_seed(0)
    return layer


def units(shape):
    return math.prod(shape[:2])


@pytest.mark.parametrize("kind", UNITWISE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_mean_of_the_output_and_of_the_gradient(kind, dtype):
    p, shape = 0.2, UNITWISE[kind]
    x = torch.full(shape, 1 - p, dtype=dtype, requires_grad=True)
    y = twin(kind, p)(x)
    bound = 5 * math.sqrt(p / (1 - p) / units(shape))
    assert abs(float(y.detach().double().mean()) - (1 - p)) < bound + 0.01 * (dtype.itemsize < 4)
    y.backward(torch.full_like(y, 1 - p))
    assert abs(float(x.grad.double().mean()) - (1 - p)) < bound + 0.01 * (dtype.itemsize < 4)
    assert bool(((x.grad == 0) == (y == 0)).all())


@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_of_0_hands_the_input_on(kind):
    x = torch.randn(KINDS[kind], requires_grad=True)
    y = twin(kind, 0.0)(x)
    assert torch.equal(y, x)
    y.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


@pytest.mark.parametrize("kind", UNITWISE)
def test_a_rate_of_1_leaves_nothing(kind):
    x = torch.randn(UNITWISE[kind], requires_grad=True)
    y = twin(kind, 1.0)(x)
    assert not y.any()
    y.sum().backward()
    assert not x.grad.any()


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_is_the_identity(kind):
    x = torch.randn(KINDS[kind])
    layer = twin(kind, 0.5)
    assert torch.equal(layer.eval()(x), x)
    assert not torch.equal(layer.train()(x), x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_rates_outside_of_0_to_1_are_refused(kind, p):
    layer = twin(kind, 0.5)
    with pytest.raises(ValueError, match=str(p)):
        layer.p = p
    with pytest.raises(ValueError, match=str(p)):
        type(layer)(p)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_input(kind):
    shape = (0, *KINDS[kind][1:])
    x = torch.empty(shape, requires_grad=True)
    y = twin(kind, 0.5)(x)
    assert y.shape == shape
    y.sum().backward()
    assert x.grad.shape == shape


@pytest.mark.parametrize("kind", list(UNITWISE)[1:])
def test_channels_fall_as_a_whole(kind):
    shape = UNITWISE[kind]
    y = twin(kind, 0.5)(torch.ones(shape)).flatten(2)
    kept = (y != 0).sum(2)
    assert set(kept.unique().tolist()) == {0, y.shape[2]}
    assert torch.equal(y[y != 0].unique(), torch.tensor([2.0]))
    share = float((kept > 0).double().mean())
    assert abs(share - 0.5) < 5 * 0.5 / math.sqrt(units(shape))


@pytest.mark.parametrize("kind", [nn.Dropout1d, nn.Dropout3d])
def test_without_a_batch_the_first_dimension_counts_channels(kind):
    """In 2d torch takes three dimensions as a batch; so does the layer that replaces it."""
    shape = UNITWISE[kind][1:]
    y = twin(kind, 0.5)(torch.ones(shape)).flatten(1)
    kept = (y != 0).sum(1)
    assert set(kept.unique().tolist()) == {0, y.shape[1]}


def test_three_dimensions_in_2d_are_a_batch():
    y = twin(nn.Dropout2d, 0.5)(torch.ones(50, 40, 5))
    kept = (y != 0).sum(2)
    assert set(kept.unique().tolist()) == {0, 5}
    assert len(kept.unique(dim=0)) > 1


def test_dropout1d_refuses_other_dimensions():
    for shape in ((2,), (2, 3, 4, 5)):
        with pytest.raises(ValueError, match="shape"):
            twin(nn.Dropout1d, 0.5)(torch.ones(shape))


@pytest.mark.parametrize("kind", ALPHA)
@pytest.mark.parametrize("p", [0.2, 0.5, 0.8])
def test_alpha_dropout_keeps_mean_and_deviation(kind, p):
    torch.manual_seed(1)
    x = torch.randn(ALPHA[kind])
    y = twin(kind, p)(x)
    bound = 5 * 3 / math.sqrt(x.numel())
    assert abs(float(y.mean() - x.mean())) < bound
    assert abs(float(y.std() - x.std())) < bound


def test_feature_alpha_dropout_drops_channels_as_a_whole():
    y = twin(nn.FeatureAlphaDropout, 0.5)(torch.randn(40, 30, 7))
    constant = (y == y[..., :1]).all(2)
    assert 0.4 < float(constant.double().mean()) < 0.6
    assert len(y[constant].unique()) == 1


@pytest.mark.parametrize("kind", [nn.Dropout2d, nn.Dropout3d])
def test_memory_formats_are_kept(kind):
    shape = (4, 3, 5, 6) if kind is nn.Dropout2d else (4, 3, 2, 5, 6)
    form = torch.channels_last if kind is nn.Dropout2d else torch.channels_last_3d
    y = twin(kind, 0.5)(torch.ones(shape).to(memory_format=form))
    assert y.is_contiguous(memory_format=form)
    y = twin(nn.Dropout, 0.5)(torch.ones(shape).to(memory_format=form))
    assert y.is_contiguous(memory_format=form)


@pytest.mark.parametrize("kind", KINDS)
def test_strided_and_expanded_inputs(kind):
    shape = KINDS[kind]
    x = torch.randn(*shape[:-1], 2 * shape[-1])[..., ::2]
    assert twin(kind, 0.5)(x).shape == shape
    layer = twin(kind, 0.5)
    strided = layer(x)
    torch.manual_seed(0)
    assert torch.equal(strided, layer(x.contiguous()))
    wide = torch.ones(shape[0], 1, *shape[2:]).expand(shape)
    y = twin(kind, 0.5)(wide)
    assert y.shape == shape
    assert bool((wide == 1).all())


@pytest.mark.parametrize("kind", KINDS)
def test_the_input_stays_as_it_is_and_calls_differ(kind):
    x = torch.randn(KINDS[kind])
    before = x.clone()
    layer = twin(kind, 0.5)
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(x, before)


def test_inplace_writes_a_new_tensor():
    x = torch.ones(50)
    y = twin(nn.Dropout, 0.5, inplace=True)(x)
    assert y.data_ptr() != x.data_ptr()
    assert bool((x == 1).all())


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_mask_also_in_copies(kind):
    x = torch.randn(KINDS[kind])
    layer = twin(kind, 0.5)
    results = []
    for other in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.manual_seed(7)
        results.append(other(x))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_a_fixed_mask(kind):
    shape = (3, *KINDS[kind][1:2], *KINDS[kind][2:])
    shape = (3, 4, *shape[2:])
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    layer = twin(kind, 0.5)

    def fixed(x):
        torch.manual_seed(2)
        return layer(x)

    assert torch.autograd.gradcheck(fixed, (x,))
    assert torch.autograd.gradgradcheck(fixed, (x,))
