"""Examples that are made for models which came without."""

import pytest
import torch
from torch import nn

from dropkit._doctor.example import build_example


class First(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


class Long(nn.Module):
    """Takes sequences only, of features."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(x).mean(1).reshape(len(x), 2)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Dropout(), nn.Linear(5, 2)), (4, 5)),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 62 * 62, 2)),
            (4, 3, 64, 64),
        ),
        (nn.Sequential(nn.Conv1d(2, 4, 3)), (4, 2, 32)),
        (nn.Sequential(nn.Embedding(9, 2), nn.Linear(2, 2)), (4, 8)),
        (First(nn.LSTM(6, 2, batch_first=True)), (4, 8, 6)),
        (Long(), (4, 8, 3)),
    ],
)
def test_the_first_layer_tells(model, shape):
    state = torch.get_rng_state()
    example = build_example(model)
    assert example.shape == shape
    assert torch.equal(torch.get_rng_state(), state)
    model(example)


def test_lightnings_example_is_taken():
    model = nn.Linear(2, 2)
    model.example_input_array = torch.ones(7, 2)
    assert build_example(model) is model.example_input_array


def test_transformers_models_are_known_by_their_configuration():
    t = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4}
    bert = t.BertModel(t.BertConfig(vocab_size=50, **small))
    assert build_example(bert)["input_ids"].shape == (4, 8)
    vit = t.ViTModel(t.ViTConfig(image_size=16, patch_size=8, **small))
    assert build_example(vit)["pixel_values"].shape == (4, 3, 16, 16)
    t5 = t.T5Model(t.T5Config(vocab_size=50, d_model=16, d_kv=4, num_layers=1, num_heads=4, d_ff=8))
    assert set(build_example(t5)) == {"input_ids", "decoder_input_ids"}


def test_none_if_nothing_runs():
    class Two(nn.Linear):
        def forward(self, x, y):
            return x + y

    assert build_example(Two(2, 2)) is None
    assert build_example(nn.Bilinear(2, 2, 2)) is None
