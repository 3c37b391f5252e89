"""Small models of many architectures, built without downloads: name → (model, named inputs)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

TINY = {
    "hidden_size": 32, "d_model": 32, "n_embd": 32, "dim": 32, "embedding_size": 32,
    "num_hidden_layers": 2, "num_layers": 2, "n_layer": 2, "n_layers": 2, "encoder_layers": 2,
    "decoder_layers": 2, "num_decoder_layers": 2, "num_attention_heads": 4, "n_head": 4,
    "n_heads": 4, "num_heads": 4, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 64, "d_ff": 64, "d_kv": 8,
    "ffn_dim": 64, "hidden_dim": 64, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
    "vocab_size": 64, "max_position_embeddings": 64, "n_positions": 64, "n_ctx": 64,
    "max_source_positions": 64, "max_target_positions": 64, "pad_token_id": 1, "bos_token_id": 2,
    "eos_token_id": 3, "type_vocab_size": 2, "image_size": 32, "patch_size": 8, "num_experts": 4,
    "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
    "state_size": 4, "conv_kernel": 4, "decoder_start_token_id": 2, "window_size": 4,
    "drop_path_rate": 0.2,
}  # fmt: skip

#: Model types of transformers that these settings suit.
GENERIC = """
albert bart beit bert bert-generation biogpt blenderbot-small bloom camembert clip_text_model
clip_vision_model cohere convbert ctrl data2vec-text data2vec-vision deberta deberta-v2 deit
dinov2 distilbert dpr dpt electra ernie esm falcon fnet gemma2 glm gpt2 gpt_bigcode gpt_neox
gpt_oss granitemoe helium imagegpt layoutlm llama longt5 m2m_100 mamba marian mbart megatron-bert
mistral mixtral mobilebert modernbert mpnet mra mt5 nystromformer olmo2 olmoe openai-gpt opt
pegasus phi plbart qwen2_moe qwen3 rembert roberta roformer rwkv siglip_vision_model splinter
squeezebert stablelm starcoder2 switch_transformers t5 xlm-roberta xglm
""".split()  # noqa: SIM905

_SPEECH = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "conv_dim": (16,), "conv_stride": (8,), "conv_kernel": (8,), "num_feat_extract_layers": 1,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0, "vocab_size": 32,
}  # fmt: skip
_STAGES = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
_WINDOWS = {
    "image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2],
    "window_size": 4, "drop_path_rate": 0.2, "hidden_dropout_prob": 0.1,
}  # fmt: skip

#: Model types with settings of their own.
SPECIAL: dict[str, dict[str, Any]] = {
    "convnext": {**_STAGES, "drop_path_rate": 0.2, "layer_scale_init_value": 1e-2},
    "convnextv2": {**_STAGES, "drop_path_rate": 0.2},
    "resnet": {**_STAGES, "embedding_size": 8, "layer_type": "basic"},
    "regnet": {**_STAGES, "embedding_size": 8, "groups_width": 8},
    "poolformer": {**_STAGES, "drop_path_rate": 0.2, "layer_scale_init_value": 1e-1},
    "pvt_v2": {**_STAGES, "num_attention_heads": [1, 1, 2, 2], "hidden_dropout_prob": 0.1},
    "segformer": {**_STAGES, "num_attention_heads": [1, 1, 2, 2], "decoder_hidden_size": 16},
    "swin": _WINDOWS,
    "swinv2": _WINDOWS,
    "donut-swin": _WINDOWS,
    "focalnet": {"image_size": 32, "embed_dim": 8, "depths": [1, 1], "hidden_sizes": [8, 16],
                 "focal_levels": [2, 2], "focal_windows": [3, 3]},
    "mobilevit": {"image_size": 32, "hidden_sizes": [16, 16, 16], "num_attention_heads": 2,
                  "neck_hidden_sizes": [8, 8, 8, 8, 8, 8, 16], "initializer_range": 0.3},
    "wav2vec2": _SPEECH,
    "hubert": _SPEECH,
    "wavlm": _SPEECH,
    "unispeech": _SPEECH,
    "data2vec-audio": {**_SPEECH, "num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 3},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64, "vocab_size": 64},
    "xlm": {"emb_dim": 32, "n_layers": 2, "n_heads": 4, "vocab_size": 64},
}  # fmt: skip


class Block(nn.Module):
    """One of a ConvNeXt: depthwise convolution, norm, two layers, a scale near zero."""

    def __init__(self, width):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm, self.up = nn.LayerNorm(width), nn.Linear(width, 2 * width)
        self.act, self.down = nn.GELU(), nn.Linear(2 * width, width)
        self.scale, self.drop = nn.Parameter(torch.full((width,), 1e-2)), nn.Dropout(0.1)

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.drop(self.scale * self.down(self.act(self.up(y))))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(3, 16, 4, 4), nn.Sequential(Block(16), Block(16))
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class Mixer(nn.Module):
    class Step(nn.Module):
        def __init__(self, tokens, width):
            super().__init__()
            self.over_tokens = nn.Sequential(
                nn.Linear(tokens, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, tokens)
            )
            self.over_units = nn.Sequential(
                nn.Linear(width, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, width)
            )
            self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

        def forward(self, x):
            x = x + self.over_tokens(self.first(x).transpose(1, 2)).transpose(1, 2)
            return x + self.over_units(self.second(x))

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 8, 8)
        self.steps = nn.ModuleList([self.Step(16, 16) for _ in range(2)])
        self.head = nn.Linear(16, 3)
        nn.init.normal_(self.head.weight, std=1e-3)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        for step in self.steps:
            x = step(x)
        return self.head(x.mean(1))


class ViT(nn.Module):
    """With torch's own layers, and a head near zero."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 8, 8)
        self.place = nn.Parameter(0.02 * torch.randn(1, 16, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, activation=nn.GELU(), batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)
        nn.init.normal_(self.head.weight, std=1e-3)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2) + self.place
        return self.head(self.encoder(x).mean(1))


class Gated(nn.Module):
    """Like a Mamba block: weights are read in a fused way, and an activation is kept unused."""

    def __init__(self):
        super().__init__()
        self.before, self.step = nn.Linear(4, 32), nn.Linear(16, 16)
        self.act, self.gate = nn.SiLU(), nn.Sigmoid()
        self.after_step, self.dropout = nn.Linear(16, 4), 0.1

    def forward(self, x):
        x, z = self.before(x).chunk(2, -1)
        x = F.silu(F.linear(x, self.step.weight, self.step.bias)).cumsum(1)
        x = F.dropout(x, self.dropout, self.training)
        return self.after_step(x * self.gate(z))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.words, self.rnn = nn.Embedding(20, 8), kind(8, 16, 2, dropout=0.2, batch_first=True)
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(16, 5)

    def forward(self, x):
        return self.head(self.drop(self.rnn(self.words(x))[0][:, -1]))


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)

    def forward(self, x, y):
        return self.net(x, y)


class Inception(nn.Module):
    """Has branches, batch normalization, and a head that training alone calls."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.narrow = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.auxiliary = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3))
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(16, 3)

    def forward(self, x):
        x = torch.cat([self.wide(x), self.narrow(x)], 1).mean((2, 3))
        extra = self.auxiliary(x) if self.training else None
        return {"logits": self.head(self.drop(x)), "extra": extra}


def _image():
    return {"x": torch.randn(3, 3, 32, 32)}


def _words():
    return {"x": torch.randint(20, (4, 7))}


def _mlp():
    torch_mlp = [nn.Linear(4, 32), nn.PReLU(), nn.Dropout(0.2), nn.Linear(32, 32), nn.Softplus()]
    return Named(nn.Sequential(*torch_mlp, nn.AlphaDropout(0.2), nn.Linear(32, 2), nn.Sigmoid()))


class Named(nn.Module):
    """Gives the input of any model the name x."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)


def _unet():
    down = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(2, 8), nn.Mish(), nn.Dropout2d(0.2))
    up = nn.Sequential(nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.LeakyReLU(), nn.Conv2d(8, 1, 1))
    return Named(nn.Sequential(down, up))


def _volumes():
    body = nn.Sequential(nn.Conv3d(2, 4, 3), nn.ELU(), nn.Dropout3d(0.2), nn.Flatten())
    return Named(nn.Sequential(body, nn.LazyLinear(3)))


OWN: dict[str, Callable[[], tuple[nn.Module, dict[str, Any]]]] = {
    "own: convnext": lambda: (ConvNeXt(), _image()),
    "own: mixer": lambda: (Mixer(), _image()),
    "own: vit": lambda: (ViT(), _image()),
    "own: gated": lambda: (Gated(), {"x": torch.randn(3, 6, 4)}),
    "own: inception": lambda: (Inception(), _image()),
    "own: u-net": lambda: (_unet(), _image()),
    "torch: mlp": lambda: (_mlp(), {"x": torch.randn(6, 4)}),
    "torch: lstm": lambda: (Recurrent(nn.LSTM), _words()),
    "torch: gru": lambda: (Recurrent(nn.GRU), _words()),
    "torch: rnn": lambda: (Recurrent(nn.RNN), _words()),
    "torch: transformer": lambda: (
        Pair(), {"x": torch.randn(2, 5, 16), "y": torch.randn(2, 4, 16)}
    ),
    "torch: encoder": lambda: (
        Named(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)),
        {"x": torch.randn(2, 5, 16)},
    ),
}  # fmt: skip

NAMES = [*OWN, *GENERIC, *SPECIAL]


def build(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """Return a model and inputs; of transformers those of its main input."""
    torch.manual_seed(0)
    if name in OWN:
        return OWN[name]()
    from transformers import CONFIG_MAPPING, MODEL_MAPPING

    kind = CONFIG_MAPPING[name]
    settings = SPECIAL.get(name) or _tiny(kind)
    model = MODEL_MAPPING[kind](kind(**settings))
    return model, _inputs(model)


def _tiny(kind: Any) -> dict[str, Any]:
    plain = kind()
    known = {
        key: value
        for key, value in TINY.items()
        if isinstance(vars(plain).get(key), int | float | type(None)) and key in vars(plain)
    }
    for alias in getattr(plain, "attribute_map", {}):
        known.pop(alias, None)
    return known


def _inputs(model: Any) -> dict[str, Any]:
    config = model.config
    tokens = torch.randint(4, 60, (2, 8))
    match model.main_input_name:
        case "input_ids" if getattr(config, "is_encoder_decoder", False):
            return {"input_ids": tokens, "decoder_input_ids": tokens[:, :6]}
        case "input_ids":
            return {"input_ids": tokens}
        case "pixel_values":
            return {"pixel_values": torch.randn(2, 3, 32, 32)}
        case name:
            return {name: torch.randn(2, 1600)}
