"""Models as users have them: dropout in, out, exchanged; then training, and how sure they are."""

import os
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from dropkit.constrain import max_norm_
from dropkit.noise import DropBlock2d, Dropout, LockedDropout
from dropkit.param_groups import decay_groups
from dropkit.prediction import predict
from dropkit.surgery import dropout_layers, insert, rates, replace, set_rates, strip

SHAKESPEARE = Path(os.environ.get("DROPKIT_DATA", "")) / "tinyshakespeare" / "input.txt"


class Encoder(nn.Module):
    """torch's transformer over tokens, a class from the mean of its outputs."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens):
        return self.head(self.encoder(self.embedding(tokens)).mean(1))


class LanguageModel(nn.Module):
    """Characters in, the logits of the next character out, at every place."""

    def __init__(self, characters):
        super().__init__()
        self.embedding = nn.Embedding(characters, 16)
        self.lstm = nn.LSTM(16, 32, 2, dropout=0.2, batch_first=True)
        self.head = nn.Linear(32, characters)

    def forward(self, tokens):
        outputs, _ = self.lstm(self.embedding(tokens))
        return self.head(outputs).transpose(1, 2)


class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.act2 = nn.ReLU(inplace=True)
        self.around = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        inner = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        return self.act2(inner + self.around(x))


class ResNet(nn.Module):
    """A residual network for small images, with dropout before its last layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 1, 1)
        self.stages = nn.Sequential(Block(8, 8, 1), Block(8, 16, 2), Block(16, 16, 1))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(16, 4)

    def forward(self, images):
        return self.head(self.drop(self.stages(self.stem(images)).mean((2, 3))))


class Logits(nn.Module):
    """A Hugging Face model as a function from a tensor to a tensor."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, tokens):
        return self.model(input_ids=tokens).logits


def encoder():
    return Encoder(), torch.randint(20, (12, 6)), torch.randint(3, (12,))


def language_model():
    if SHAKESPEARE.is_file():
        text = SHAKESPEARE.read_text(encoding="utf-8")[:20_000]
    else:
        text = "To be, or not to be, that is the question: " * 20
    characters = sorted(set(text))
    code = {character: i for i, character in enumerate(characters)}
    tokens = torch.tensor([code[character] for character in text[: 12 * 25]]).view(12, 25)
    return LanguageModel(len(characters)), tokens[:, :-1], tokens[:, 1:]


def bert():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=3,
    )
    model = transformers.BertForSequenceClassification(config)
    return Logits(model), torch.randint(30, (12, 6)), torch.randint(3, (12,))


def resnet():
    return ResNet(), torch.randn(12, 3, 8, 8), torch.randint(4, (12,))


ALL = [encoder, language_model, bert, resnet]


def prepared(make):
    torch.manual_seed(0)
    return make()


def train(model, x, y, steps=8):
    """A few updates with weight decay and max-norm; the losses."""
    optimizer = torch.optim.AdamW(decay_groups(model, 0.01), lr=0.01)
    model.train()
    losses = []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        max_norm_(model, 3.0)
        losses.append(loss.item())
    return losses


def check(model, x, y):
    """It trains, is a function in evaluation, and its masks disagree."""
    losses = train(model, x, y)
    assert min(losses[-2:]) < losses[0]
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(x), model(x))
    before = deepcopy(model.state_dict())
    found = predict(model, x[:3], samples=20, task="classification", seed=0)
    assert (found.variance > 0).all()
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("make", ALL)
def test_as_it_comes(make):
    check(*prepared(make))


@pytest.mark.parametrize("make", ALL)
def test_without_dropout_every_pass_is_the_same(make):
    model, x, y = prepared(make)
    bare, report = strip(model)
    assert report.changed
    assert not any(rates(bare).values())
    with torch.no_grad():
        torch.testing.assert_close(bare.eval()(x), model.eval()(x))
        assert torch.equal(bare.train()(x), bare(x))
        assert not torch.equal(model.train()(x), model(x))
    with pytest.raises(ValueError, match="must drop something"):
        predict(bare, x, samples=5)
    train(bare, x, y, steps=2)
    assert rates(report.undo(bare)) == rates(model)


@pytest.mark.parametrize("make", [encoder, bert, resnet])
def test_every_layer_exchanged_for_dropkits(make):
    model, x, y = prepared(make)
    model, report = replace(model)
    assert report.changed
    assert all(isinstance(dict(dropout_layers(model))[name], Dropout) for name in report.changed)
    check(model, x, y)


@pytest.mark.parametrize(
    ("make", "layer", "after", "places"),
    [
        (encoder, Dropout(0.2), "embedding", 1),
        (language_model, LockedDropout(0.3), (nn.LSTM, nn.Embedding), 2),
        (bert, Dropout(0.2), "*.embeddings.word_embeddings", 1),
        (resnet, lambda: DropBlock2d(0.1, 3), "*.act2", 3),
    ],
)
def test_a_layer_put_in(make, layer, after, places):
    model, x, y = prepared(make)
    keys = list(model.state_dict())
    bare, _ = strip(model)
    one, report = insert(bare, layer, after=after)
    assert len(report.changed) == places
    assert list(one.state_dict()) == keys
    check(one, x, y)


@pytest.mark.parametrize("make", ALL)
def test_every_rate_set(make):
    model, x, y = prepared(make)
    model, report = set_rates(model, 0.4)
    assert report.changed
    assert set(rates(model).values()) == {0.4}
    check(model, x, y)


def test_the_language_model_learns_from_shakespeare():
    if not SHAKESPEARE.is_file():
        pytest.skip("set DROPKIT_DATA to the folder that holds tinyshakespeare/input.txt")
    torch.manual_seed(0)
    text = SHAKESPEARE.read_text(encoding="utf-8")
    code = {character: i for i, character in enumerate(sorted(set(text)))}
    tokens = torch.tensor([code[character] for character in text[:64_000]])
    rows = tokens.view(-1, 32)
    held_out, rows = rows[-200:], rows[:-200]
    model, _ = insert(LanguageModel(len(code)), LockedDropout(0.1), after=nn.LSTM)
    for batch in rows[torch.randperm(len(rows))].split(64)[:25]:
        train(model, batch[:, :-1], batch[:, 1:], steps=2)
    model.eval()
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model(held_out[:, :-1]), held_out[:, 1:])
    # The entropy of single characters is what a model without context reaches at best.
    shares = torch.bincount(tokens, minlength=len(code)) / len(tokens)
    assert loss < -(shares[shares > 0] * shares[shares > 0].log()).sum()
