"""The loss of two passes, against sums written out."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropkit.noise._dropout import Dropout
from dropkit.noise._r_drop import forward_twice, r_drop_loss


def by_hand(logits1, logits2, target, alpha, ignore_index=-100):
    """Place by place in Python's floats; classes in the last dimension."""
    total, places = 0.0, 0
    for row1, row2, wanted in zip(logits1.tolist(), logits2.tolist(), target.tolist(), strict=True):
        if wanted == ignore_index:
            continue
        places += 1
        p, q = ([math.exp(z) for z in row] for row in (row1, row2))
        p, q = ([e / sum(share) for e in share] for share in (p, q))
        weights = (
            wanted if isinstance(wanted, list) else [float(c == wanted) for c in range(len(p))]
        )
        for a, b, w in zip(p, q, weights, strict=True):
            if w:
                total -= w * (math.log(a) + math.log(b)) / 2
            if a or b:
                total += alpha / 2 * (a * math.log(a / b) + b * math.log(b / a))
    return total / places


def draw(*shape):
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(2)]


@pytest.mark.parametrize("alpha", [0.0, 0.7, 5.0])
def test_is_the_sum_written_out(alpha):
    logits1, logits2 = draw(6, 4)
    target = torch.tensor([0, 3, 1, -100, 2, 2])
    found = float(r_drop_loss(logits1, logits2, target, alpha).detach())
    assert math.isclose(found, by_hand(logits1, logits2, target, alpha), rel_tol=1e-12)
    shares = torch.rand(6, 4, dtype=torch.float64).softmax(1)
    found = float(r_drop_loss(logits1, logits2, shares, alpha).detach())
    assert math.isclose(found, by_hand(logits1, logits2, shares, alpha), rel_tol=1e-12)


def test_sequences_without_their_padding():
    logits1, logits2 = draw(3, 4, 5)
    target = torch.randint(1, 4, (3, 5))
    target[:, 3:] = 0
    flat = [logits.movedim(1, -1).reshape(-1, 4) for logits in (logits1, logits2)]
    found = r_drop_loss(logits1, logits2, target, 2.0, ignore_index=0)
    expected = by_hand(*flat, target.flatten(), 2.0, ignore_index=0)
    assert math.isclose(float(found.detach()), expected, rel_tol=1e-12)
    gradients = torch.autograd.grad(found, (logits1, logits2))
    assert all(bool((gradient[..., 3:] == 0).all()) for gradient in gradients)


def test_gradient():
    target = torch.tensor([0, 3, -100, 2])
    assert torch.autograd.gradcheck(lambda a, b: r_drop_loss(a, b, target, 1.5), draw(4, 4))


def test_passes_that_agree_give_the_cross_entropy():
    logits, _ = draw(6, 4)
    target = torch.arange(6) % 4
    loss = r_drop_loss(logits, logits, target, 3.0)
    torch.testing.assert_close(loss, F.cross_entropy(logits, target), rtol=1e-13, atol=0)


def test_is_symmetric_and_grows_with_alpha():
    logits1, logits2 = draw(6, 4)
    target = torch.arange(6) % 4
    losses = [r_drop_loss(logits1, logits2, target, alpha) for alpha in (0.0, 1.0, 2.0)]
    assert losses[0] < losses[1] < losses[2]
    torch.testing.assert_close(r_drop_loss(logits2, logits1, target, 1.0), losses[1])


def test_classes_that_both_passes_exclude():
    logits1, logits2 = draw(6, 4)
    target = torch.arange(6) % 4
    excluded = torch.full((6, 1), -math.inf, dtype=torch.float64)
    found = r_drop_loss(*(torch.cat([z, excluded], 1) for z in (logits1, logits2)), target, 1.0)
    torch.testing.assert_close(found, r_drop_loss(logits1, logits2, target, 1.0))
    gradients = torch.autograd.grad(found, (logits1, logits2))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_is_computed_in_float32(dtype):
    logits1, logits2 = (z.detach().to(dtype) for z in draw(6, 4))
    target = torch.arange(6) % 4
    found = r_drop_loss(logits1, logits2, target, 1.0)
    exact = r_drop_loss(logits1.double(), logits2.double(), target, 1.0)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)


def test_compiles():
    logits1, logits2 = draw(6, 4)
    target = torch.tensor([0, 3, 1, -100, 2, 2])
    torch._dynamo.reset()
    compiled = torch.compile(r_drop_loss, backend="aot_eager", fullgraph=True)
    expected = r_drop_loss(logits1, logits2, target, 1.0)
    torch.testing.assert_close(compiled(logits1, logits2, target, 1.0), expected)


class Masked(nn.Module):
    """A model with two inputs, one of them by name, and a number."""

    def __init__(self, p):
        super().__init__()
        self.linear, self.drop = nn.Linear(4, 3), Dropout(p)
        self.rows = []

    def forward(self, x, scale, *, shift):
        self.rows.append(len(x))
        return self.linear(self.drop(x)) * scale + shift


def test_the_doubled_batch_is_two_passes_in_one():
    model, x, shift = Masked(0.5), torch.randn(5, 4), torch.randn(5, 3)
    first, second = forward_twice(model, x, 2.0, shift=shift)
    assert model.rows == [10]
    assert first.shape == second.shape == (5, 3)
    assert not torch.equal(first, second)
    model.eval()
    for y in forward_twice(model, x, 2.0, shift=shift):
        torch.testing.assert_close(y, model(x, 2.0, shift=shift))
    assert forward_twice(model, x[:0], 2.0, shift=shift[:0])[1].shape == (0, 3)


def test_the_halves_draw_independent_masks():
    rows = 20_000
    first, second = forward_twice(Dropout(0.5), torch.ones(rows, 1))
    agree = (first == second).double()
    assert abs(float(agree.mean()) - 0.5) < 5 * 0.5 / math.sqrt(rows)


def test_refuses():
    logits, target = torch.zeros(2, 3), torch.tensor([0, 1])
    for alpha in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="alpha must be a finite number, 0 or more, got"):
            r_drop_loss(logits, logits, target, alpha)
    with pytest.raises(ValueError, match=r"must have the same shape .* got \(2, 3\) and \(1, 3\)"):
        r_drop_loss(logits, logits[:1], target)
    with pytest.raises(ValueError, match="got a scalar tensor"):
        forward_twice(nn.Identity(), torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"doubled batch, got tuple; wrap it"):
        forward_twice(nn.LSTM(4, 4), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"doubled batch, got \(\); wrap it"):
        forward_twice(torch.sum, torch.zeros(2, 4))


def test_probabilities_with_a_class_that_both_passes_exclude():
    logits = torch.tensor([[0.0, 1.0, -math.inf]], requires_grad=True)
    other = torch.tensor([[0.5, 0.2, -math.inf]])
    target = torch.tensor([[0.3, 0.7, 0.0]])
    loss = r_drop_loss(logits, other, target, alpha=1.0)
    assert loss.item() == pytest.approx(
        by_hand(logits[:, :2].detach().double(), other[:, :2].double(), target[:, :2], 1.0),
        rel=1e-5,
    )
    loss.backward()
    assert logits.grad.isfinite().all()
