"""One mask over several calls: of a layer by its seed, of a model in a block."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dropkit import replace
from dropkit.functional import dropout
from dropkit.noise import (
    AlphaDropout,
    ConcreteDropout,
    DropBlock2d,
    DropConnect,
    Dropout,
    Dropout2d,
    DropPath,
    EmbeddingDropout,
    FeatureAlphaDropout,
    GaussianDropout,
    GaussianNoise,
    LayerDrop,
    LockedDropout,
    MultiSampleDropout,
    PatchDropout,
    Standout,
    StochasticDepth,
    VariationalDropout,
    WordDropout,
    Zoneout,
)
from dropkit.prediction import frozen_masks, predict, sampling
from dropkit.thinned import thin

ROWS = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
IMAGES = ROWS.view(2, 4, 4, 4)
LAYERS = {
    "dropout": (lambda: Dropout(0.5), (ROWS,)),
    "channels": (lambda: Dropout2d(0.5), (IMAGES,)),
    "sequence channels": (lambda: Dropout2d(0.5, batched=True), (IMAGES[0],)),
    "Gaussian": (lambda: GaussianDropout(0.5), (ROWS,)),
    "additive": (lambda: GaussianNoise(0.5), (ROWS,)),
    "alpha": (lambda: AlphaDropout(0.5), (ROWS,)),
    "feature alpha": (lambda: FeatureAlphaDropout(0.5), (IMAGES,)),
    "path": (lambda: DropPath(0.5), (ROWS,)),
    "blocks": (lambda: DropBlock2d(0.3, 2), (IMAGES,)),
    "locked": (lambda: LockedDropout(0.5), (ROWS.view(4, 2, 16),)),
    "patches": (lambda: PatchDropout(0.5), (ROWS.view(2, 16, 4),)),
    "words": (lambda: WordDropout(0.5, unknown=0), (torch.arange(1, 65).view(4, 16),)),
    "zoneout": (lambda: Zoneout(0.5), (ROWS, ROWS + 1)),
    "standout": (lambda: Standout(), (ROWS,)),
    "concrete": (lambda: ConcreteDropout(nn.Linear(16, 4)), (ROWS,)),
    "weights": (lambda: DropConnect(nn.Linear(16, 4)), (ROWS,)),
    "variational": (lambda: VariationalDropout(nn.Linear(16, 4), -1.0), (ROWS,)),
    "embedding": (lambda: EmbeddingDropout(nn.Embedding(50, 2), 0.5), (torch.arange(50),)),
    "depth": (lambda: StochasticDepth(nn.Linear(16, 16), 0.5), (ROWS,)),
    "layers": (lambda: LayerDrop([nn.Linear(16, 16) for _ in range(9)], 0.5), (ROWS,)),
    "several masks": (lambda: MultiSampleDropout(nn.Linear(16, 4)), (ROWS,)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_masks_are_the_same_in_a_block_and_others_in_the_next(name):
    make, x = LAYERS[name]
    torch.manual_seed(0)
    layer = nn.ModuleList([make()]).train()
    with frozen_masks(layer):
        first, second = layer[0](*x), layer[0](*x)
    assert torch.equal(first, second)
    with frozen_masks(layer):
        third = layer[0](*x)
    assert not torch.equal(first, third)
    assert not torch.equal(layer[0](*x), layer[0](*x))


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        Dropout(0.5), nn.Linear(16, 16), nn.ReLU(), Dropout(0.5), nn.Linear(16, 16), Dropout(0.5)
    ).train()


def test_the_seed_of_a_layer_gives_the_mask_of_the_function():
    layer = Dropout(0.3)
    layer.seed = 2**64 - 1
    assert torch.equal(layer(ROWS), dropout(ROWS, 0.3, seed=2**64 - 1))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(ROWS), layer(ROWS))
    assert not layer.state_dict()
    layer.seed = None
    assert not torch.equal(layer(ROWS), layer(ROWS))
    with pytest.raises(ValueError, match="seed must lie in"):
        layer.seed = -1


def test_compiled_code_takes_a_new_seed_without_being_compiled_again():
    torch._dynamo.reset()
    layer = Dropout(0.3)
    layer.seed = 1
    with torch._dynamo.config.patch(error_on_recompile=True):
        fast = torch.compile(layer, fullgraph=True, backend="aot_eager")
        for seed in (1, 2, 3):
            layer.seed = seed
            assert torch.equal(fast(ROWS), dropout(ROWS, 0.3, seed=seed))
    torch._dynamo.reset()


def test_every_layer_has_a_mask_of_its_own_and_gets_its_seed_back():
    net = nn.Sequential(Dropout(0.5), Dropout(0.5))
    net[0].seed = 3
    with frozen_masks(net, seed=0):
        ones = torch.ones(1000)
        assert not torch.equal(net[0](ones), net[1](ones))
        first = net(ones)
    assert int(net[0].seed) == 3
    assert net[1].seed is None
    with frozen_masks(net, seed=0):
        assert torch.equal(net(ones), first)
    with pytest.raises(KeyError), frozen_masks(net):
        raise KeyError
    assert int(net[0].seed) == 3


def test_recomputation_without_the_state_of_generators_has_the_frozen_masks():
    net = network()

    def gradient(run):
        x = ROWS.clone().requires_grad_()
        return torch.autograd.grad(run(x).square().sum(), x)[0]

    with frozen_masks(net):
        again = gradient(
            lambda x: checkpoint(net, x, use_reentrant=False, preserve_rng_state=False)
        )
        torch.testing.assert_close(again, gradient(net))


def test_predict_draws_masks_of_its_own():
    net = network()
    expected = predict(net, ROWS, 20, seed=0)
    with frozen_masks(net):
        assert torch.equal(predict(net, ROWS, 20, seed=0).mean, expected.mean)
        inside = net(ROWS)
        assert torch.equal(net(ROWS), inside)


def test_one_sampled_function_is_evaluated_anywhere():
    net = network().eval()
    with sampling(net), frozen_masks(net):
        whole = net(ROWS)
        torch.testing.assert_close(net(ROWS[:3]), whole[:3])  # masks go by the element's place
    assert torch.equal(net(ROWS), net(ROWS))


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (lambda: nn.Linear(2, 2), "no dropout"),
        (lambda: nn.Sequential(Dropout(0.5), nn.Dropout(0.5)), "'1'"),
        (lambda: nn.Sequential(Dropout(0.5), nn.LSTM(4, 4, 2, dropout=0.5)), "'1'"),
        (lambda: thin(network())[0], "'3'"),
    ],
)
def test_masks_that_cannot_be_kept_are_refused(model, found):
    with pytest.raises(ValueError, match=f"found .*{found}"), frozen_masks(model()):
        pass
    with frozen_masks(replace(nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.0)))[0]):
        pass


def test_blocks_do_not_nest():
    net = network()
    with frozen_masks(net):
        with (
            pytest.raises(RuntimeError, match="already in a block of frozen_masks"),
            frozen_masks(net),
        ):
            pass
        assert torch.equal(net(ROWS), net(ROWS))
    with frozen_masks(net):
        pass


def test_complex_numbers_are_dropped_whole_by_the_recipe():
    x = torch.randn(1000, dtype=torch.complex64, requires_grad=True)
    layer = Dropout(0.5)
    with pytest.raises(TypeError, match=r"real, got torch.complex64; .*x \* layer\(torch"):
        layer(x)
    y = x * layer(torch.ones_like(x.real))
    kept = y != 0
    assert torch.equal(y[kept], 2 * x[kept])
    assert 400 < kept.sum() < 600
    y.real.sum().backward()
    assert torch.equal(x.grad != 0, kept)
