"""What the doctor says of the fit of a model, and by which loss."""

import pytest
import torch
from torch import nn

from dropkit._doctor import doctor
from helpers.patients import find


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
    assert f"{float(entropy):.4g}" in found.evidence


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


def logistic(n, seed, outputs=1):
    """Rows with targets of 0 and 1, drawn by the logits 4 x of their first columns."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=draw)
    probability = (4 * x[:, :outputs]).sigmoid()
    return x, (torch.rand(n, outputs, generator=draw) < probability).float()


def gain(weight, outputs=1):
    """The linear model that multiplies the first columns by ``weight``."""
    model = nn.Linear(6, outputs, bias=False)
    with torch.no_grad():
        model.weight.zero_().fill_diagonal_(weight)
    return model


@pytest.mark.parametrize("outputs", [1, 2])
def test_logits_of_targets_of_0_and_1(outputs):
    train, validation = logistic(500, 0, outputs), logistic(500, 10, outputs)
    assert fit_checks(gain(4.0, outputs), train, validation) == []
    assert fit_checks(gain(-1.0, outputs), train, validation) == ["underfit"]
    # Batches without an output outside of [0, 1] are judged as the others are.
    order = train[0][:, 0].abs().argsort()
    sorted_ = list(zip(*(part[order].split(50) for part in train), strict=True))
    assert fit_checks(gain(4.0, outputs), sorted_, validation) == []
    # In one column, as rows have one target.
    if outputs == 1:
        flat = [(x, y[:, 0]) for x, y in (train, validation)]
        assert fit_checks(gain(4.0), *flat) == []
        assert fit_checks(gain(4.0), *[(x, y > 0.5) for x, y in (train, validation)]) == []


def test_overconfident_logits_overfit():
    x, y = logistic(20, 0)
    good = (x[:, :1] > 0) == (y > 0.5)
    assert fit_checks(gain(60.0), (x[good[:, 0]], y[good[:, 0]]), logistic(500, 10)) == ["overfit"]


def test_values_of_targets_of_0_and_1_are_no_logits():
    """Such as those of an autoencoder of black and white images, with few white pixels."""
    y = (torch.rand(500, 6, generator=torch.Generator().manual_seed(0)) < 0.05).float()
    x = y + 0.02 * torch.randn(500, 6, generator=torch.Generator().manual_seed(1))
    for model in (nn.Identity(), nn.Sigmoid()):
        inputs = x if isinstance(model, nn.Identity) else 20 * (x - 0.5)
        assert fit_checks(model, (inputs[:250], y[:250]), (inputs[250:], y[250:])) == []
    found = find(nn.Identity(), None, "underfit", data=((1 - x, y), (1 - x, y)))
    assert found.severity == "warning"
