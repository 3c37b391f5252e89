"""The product with noise as an operation of torch: derivatives, transforms, layouts, refusals."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, hessian, jacrev, jvp, vmap
from torch.utils.checkpoint import checkpoint

from dropkit.functional import dropout, gaussian_dropout
from dropkit.noise import (
    AlphaDropout,
    Dropout,
    DropPath,
    GaussianDropout,
    GaussianNoise,
    LockedDropout,
)
from dropkit.random import keep_mask

OPERATIONS = [dropout, gaussian_dropout]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def kept_bytes(operation, x):
    kept = {}

    def note(saved):
        kept[saved.untyped_storage().data_ptr()] = saved.untyped_storage().nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        y = operation(x)
    for saved in y.grad_fn.call:  # the seed, which hooks do not see
        if isinstance(saved, torch.Tensor):
            note(saved)
    return sum(kept.values())


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("shared_dims", [(), (0,), (-1,), (0, 1)])
def test_derivatives_against_finite_differences(operation, shared_dims):
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    extra = {"shared_dims": shared_dims} if operation is dropout else {}

    def f(x):
        return operation(x, 0.4, seed=3, **extra)

    assert torch.autograd.gradcheck(f, x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: f(x) ** 2, x, check_fwd_over_rev=True)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_is_the_noise_of_the_forward_pass(operation, dtype):
    x = torch.ones(3, 100, dtype=dtype, requires_grad=True)
    y = operation(x, 0.4)
    y.sum().backward()
    assert torch.equal(x.grad, y)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_backward_keeps_less_than_100_bytes(operation):
    x = torch.randn(1000, 100, requires_grad=True)
    assert 0 < kept_bytes(operation, x) < 100


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinite_input_is_dropped_to_zero(dtype):
    x = torch.full((100,), float("inf"), dtype=dtype)
    x[50:] = float("nan")
    assert not dropout(x, 1.0).any()
    y = dropout(x, 0.5, seed=0)
    assert (y[~keep_mask(100, 0.5, seed=0)] == 0).all()
    shared = dropout(x.view(2, 50), 0.5, seed=0, shared_dims=(0,))
    assert (shared[:, ~keep_mask(50, 0.5, seed=0)] == 0).all()


def test_shared_dimensions_share_one_value():
    y = dropout(torch.ones(6, 5, 4, 3), 0.5, seed=2, shared_dims=(-1, -2))
    mask = keep_mask((6, 5, 1, 1), 0.5, seed=2).expand_as(y)
    assert torch.equal(y, 2.0 * mask)


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x.transpose(0, 2),
        lambda x: x[:, 1:, ::2],
        lambda x: x.expand(4, *x.shape)[1],
        lambda x: x.unsqueeze(0).to(memory_format=torch.channels_last),
        lambda x: torch.view_as_complex(x.unflatten(-1, (-1, 2))).conj().imag,
    ],
)
def test_mask_follows_the_shape_and_not_the_strides(layout):
    x = layout(torch.randn(6, 5, 4)).detach().requires_grad_()
    y = dropout(x, 0.5, seed=1)
    assert torch.equal(y, dropout(x.detach().clone(memory_format=torch.contiguous_format), seed=1))
    y.backward(torch.ones_like(x))
    assert torch.equal(x.grad != 0, keep_mask(x.shape, 0.5, seed=1))


def test_a_lazily_negated_input():
    x = torch.tensor([1.0 + 2.0j]).conj().imag
    assert x.is_neg()
    assert x.is_contiguous()
    assert gaussian_dropout(x, 0.5, seed=0) == gaussian_dropout(torch.tensor([-2.0]), 0.5, seed=0)


def test_channels_last_stays_channels_last():
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert dropout(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2), ()])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_empty_and_scalar(operation, shape):
    x = torch.ones(shape, requires_grad=True)
    y = operation(x, 0.5)
    y.sum().backward()
    assert y.shape == x.grad.shape == torch.Size(shape)


@pytest.mark.parametrize(
    ("x", "kind"),
    [
        (torch.ones(3, dtype=torch.int64), "int64"),
        (torch.ones(3, dtype=torch.complex64), "complex64"),
        (torch.ones(3, dtype=torch.bool), "bool"),
        (torch.eye(3).to_sparse(), "sparse"),
    ],
)
def test_unsupported_inputs(x, kind):
    with pytest.raises(TypeError, match=kind):
        dropout(x)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.jagged, torch.strided])
@pytest.mark.parametrize(
    "layer",
    [Dropout(), GaussianDropout(), AlphaDropout(), GaussianNoise(0.5), DropPath(), LockedDropout()],
)
def test_nested_tensors_are_refused_with_the_way_out(layer, layout):
    x = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(50, 3)], layout=layout)
    with pytest.raises(TypeError, match=r"dense tensor, got a nested one; give the values"):
        layer.train()(x)
    assert layer.eval()(x) is x


def test_the_way_out_for_nested_tensors():
    rows = [torch.ones(2, 3), torch.ones(50, 3)]
    x = torch.nested.nested_tensor(rows, layout=torch.jagged, requires_grad=True)
    layer = Dropout()
    y = torch.nested.nested_tensor_from_jagged(layer(x.values()), x.offsets())
    first, second = y.unbind()
    assert (first.shape, second.shape) == ((2, 3), (50, 3))
    assert second.unique().tolist() == [0.0, 2.0]
    (gradient,) = torch.autograd.grad(y.values().sum(), x)
    assert torch.equal(gradient.values(), y.values())


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), float("inf")])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_rates_out_of_range(operation, p):
    for rate in (p, torch.tensor(p)):
        with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
            operation(torch.ones(3), rate)


def test_gaussian_noise_of_infinite_variance():
    with pytest.raises(ValueError, match=r"variance p/\(1 - p\) is infinite"):
        gaussian_dropout(torch.ones(3), 1.0)


@pytest.mark.parametrize("dims", [(2,), (-3,), (0, 5)])
def test_shared_dimensions_out_of_range(dims):
    with pytest.raises(ValueError, match="shared_dims must lie in"):
        dropout(torch.ones(3, 4), shared_dims=dims)


def test_vmap_follows_its_randomness():
    x = torch.ones(4, 200)
    same = vmap(dropout, randomness="same")(x)
    assert all(torch.equal(row, same[0]) for row in same)
    different = vmap(dropout, randomness="different")(x)
    assert len({tuple(row.tolist()) for row in different}) == 4
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(dropout)(x)


def test_vmap_over_seeds_inputs_and_both():
    seeds, x = torch.tensor([5, 6, 7]), torch.randn(3, 4, 50)

    def f(x, seed):
        return dropout(x, 0.5, seed=seed, shared_dims=(0,))

    for dims in ((0, 0), (0, None), (None, 0), (1, 0)):
        inputs = [x.movedim(0, 1) if dims[0] == 1 else x, seeds]
        inputs = [v if d is not None else v[0] for v, d in zip(inputs, dims, strict=True)]
        pairs = zip(
            *(v.unbind(d) if d is not None else [v] * 3 for v, d in zip(inputs, dims, strict=True)),
            strict=True,
        )
        expected = torch.stack([f(a, b) for a, b in pairs])
        assert torch.equal(vmap(f, in_dims=dims)(*inputs), expected)


def test_nested_vmap():
    seeds, x = torch.arange(6).view(2, 3), torch.randn(2, 3, 40)
    y = vmap(vmap(lambda x, s: dropout(x, seed=s)))(x, seeds)
    assert torch.equal(y[1, 2], dropout(x[1, 2], seed=5))


def test_function_transforms():
    x = torch.randn(20)
    noise = dropout(torch.ones(20), seed=3)
    f = lambda x: dropout(x, seed=3)  # noqa: E731
    assert torch.equal(grad(lambda x: f(x).sum())(x), noise)
    assert torch.equal(jvp(f, (x,), (torch.ones(20),))[1], noise)
    assert torch.equal(jacrev(f)(x), noise.diag())
    assert torch.equal(hessian(lambda x: (f(x) ** 2).sum())(x), (2 * noise**2).diag())
    with torch.no_grad():
        assert torch.equal(jacrev(f)(x), noise.diag())


def test_forward_over_reverse_keeps_the_tangent():
    import torch.autograd.forward_ad as fwd

    x = torch.randn(20, dtype=torch.float64, requires_grad=True)
    noise = dropout(torch.ones(20, dtype=torch.float64), seed=3)
    with fwd.dual_level():
        dual = fwd.make_dual(x, torch.ones_like(x))
        (slope,) = torch.autograd.grad((dropout(dual, seed=3) ** 3).sum(), dual)
        tangent = fwd.unpack_dual(slope).tangent
    assert torch.allclose(tangent, 6 * x * noise**3)


def test_a_tensor_that_left_its_transform():
    left = []
    grad(lambda x: (left.append(x), x.sum())[1])(torch.ones(64))
    expected = dropout(torch.ones(64), seed=3)
    assert torch.equal(dropout(left[0], seed=3), expected)


def test_compiled_autograd_takes_the_mask_of_each_forward_pass():
    from torch._dynamo import compiled_autograd

    for p in (0.5, 0.2, 0.5):
        x = torch.ones(64, requires_grad=True)
        y = dropout(x * 1.0, p)
        with compiled_autograd._enable(torch.compile(backend="eager")):
            y.sum().backward()
        assert torch.equal(x.grad, y)
    torch._dynamo.reset()


def test_functional_call_and_per_sample_gradients():
    model = nn.Sequential(nn.Linear(5, 5), Dropout(0.5))
    weights = dict(model.named_parameters())
    x = torch.randn(7, 5)

    def loss(weights, x):
        return functional_call(model, weights, (x,)).sum()

    per_sample = vmap(grad(loss), in_dims=(None, 0), randomness="different")(weights, x)
    noise = per_sample["0.bias"]
    assert set(noise.unique().tolist()) == {0.0, 2.0}
    assert torch.allclose(per_sample["0.weight"], noise[:, :, None] * x[:, None, :])


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint_recomputes_the_same_mask(reentrant):
    model = nn.Sequential(nn.Linear(64, 64), Dropout(), GaussianDropout(), nn.Linear(64, 1))
    x = torch.randn(8, 64, requires_grad=True)
    torch.manual_seed(3)
    (expected,) = torch.autograd.grad(model(x).sum(), x)
    torch.manual_seed(3)
    checkpoint(model, x, use_reentrant=reentrant).sum().backward()
    assert torch.equal(x.grad, expected)


def test_autocast_leaves_the_type_alone():
    model = nn.Sequential(nn.Linear(5, 5), Dropout())
    with torch.autocast("cpu", torch.bfloat16):
        y = model(torch.randn(2, 5))
    y.sum().backward()
    assert y.dtype == torch.bfloat16
    assert dropout(torch.ones(2)).dtype == torch.float32


def test_stand_ins_for_memory():
    from torch._subclasses import FakeTensorMode

    assert dropout(torch.ones(3, device="meta")).shape == (3,)
    with FakeTensorMode():
        assert dropout(torch.ones(3)).shape == (3,)
    parameter = nn.Parameter(torch.ones(100))
    y = dropout(parameter, seed=2)
    y.sum().backward()
    assert torch.equal(parameter.grad, y)


def test_rate_changed_between_forward_and_backward():
    layer, x = Dropout(0.5), torch.ones(200, requires_grad=True)
    y = layer(x)
    layer.p = 0.1
    y.sum().backward()
    assert torch.equal(x.grad, y)
    assert copy.deepcopy(layer).p == 0.1


@pytest.mark.parametrize("keep", [True, False])
def test_a_block_that_is_computed_again_has_the_mask_of_a_seed_drawn_outside(keep):
    weight = torch.randn(8, 64, requires_grad=True)

    def gradient(run):
        torch.manual_seed(3)
        seed = torch.randint(2**40, ())
        return torch.autograd.grad(run(weight, seed).square().sum(), weight)[0]

    def block(weight, seed):
        return dropout(torch.relu(weight), 0.5, seed=seed) @ weight.T

    again = gradient(
        lambda *given: checkpoint(block, *given, use_reentrant=False, preserve_rng_state=keep)
    )
    torch.testing.assert_close(again, gradient(block))
