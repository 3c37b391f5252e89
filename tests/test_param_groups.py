"""Weight decay reaches the weights, each once, and nothing else."""

import math

import pytest
import torch
from torch import nn

from dropkit.noise import ConcreteDropout, DropConnect, Dropout, HeadDropout, VariationalDropout
from dropkit.param_groups import decay_groups


class LlamaRMSNorm(nn.Module):
    """A norm of another package, here with a weight of two dimensions."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 3))


class Biased(nn.Module):
    """A bias of two dimensions, and a scale of one."""

    def __init__(self):
        super().__init__()
        self.position_bias = nn.Parameter(torch.zeros(4, 4))
        self.gamma = nn.Parameter(torch.ones(4))
        self.kernel = nn.Parameter(torch.ones(4, 4))


def names(model, groups):
    """The names of the decayed parameters, and of the others."""
    name = {parameter: key for key, parameter in model.named_parameters()}
    decayed = [group for group in groups if group["weight_decay"] > 0]
    spared = [group for group in groups if group["weight_decay"] == 0]
    return tuple(
        [name[parameter] for group in chosen for parameter in group["params"]]
        for chosen in (decayed, spared)
    )


@pytest.mark.parametrize(
    ("layer", "decayed", "spared"),
    [
        (nn.Linear(3, 2), ["weight"], ["bias"]),
        (nn.Conv2d(3, 2, 3), ["weight"], ["bias"]),
        (nn.Embedding(5, 3), ["weight"], []),
        (nn.LayerNorm((4, 3)), [], ["weight", "bias"]),
        (nn.BatchNorm1d(3), [], ["weight", "bias"]),
        (LlamaRMSNorm(), [], ["weight"]),
        (nn.PReLU(3), [], ["weight"]),
        (
            nn.LSTM(3, 4),
            ["weight_ih_l0", "weight_hh_l0"],
            ["bias_ih_l0", "bias_hh_l0"],
        ),
        (
            nn.MultiheadAttention(4, 2, add_bias_kv=True),
            ["in_proj_weight", "out_proj.weight"],
            ["in_proj_bias", "bias_k", "bias_v", "out_proj.bias"],
        ),
        (Biased(), ["kernel"], ["position_bias", "gamma"]),
        (Dropout(0.5), None, None),
        (DropConnect(nn.Linear(3, 2)), ["layer.weight"], ["layer.bias"]),
        (
            VariationalDropout(nn.Linear(3, 2)),
            ["layer.weight"],
            ["log_variance", "layer.bias"],
        ),
        (ConcreteDropout(nn.Linear(3, 2)), ["layer.weight"], ["drop.logit", "layer.bias"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_is_decayed(layer, decayed, spared):
    if decayed is None:
        with pytest.raises(ValueError, match="Dropout must have parameters"):
            decay_groups(layer, 0.1)
        return
    found = names(layer, decay_groups(layer, 0.1))
    assert sorted(found[0]) == sorted(decayed)
    assert sorted(found[1]) == sorted(spared)


def test_every_parameter_once_tied_and_frozen_ones_too():
    net = nn.Sequential(nn.Embedding(5, 3), nn.LayerNorm(3), nn.Linear(3, 5), nn.Linear(3, 3))
    net[2].weight = net[0].weight
    net[3].requires_grad_(False)
    groups = decay_groups(net, 0.1)
    listed = [parameter for group in groups for parameter in group["params"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(net.parameters())
    torch.optim.AdamW(groups)


def test_the_optimizer_decays_the_weights_alone():
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)).double()
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    optimizer = torch.optim.AdamW(decay_groups(net, 0.1), lr=0.5)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in net.named_parameters():
        factor = 1 - 0.5 * 0.1 if name == "0.weight" else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor, rtol=1e-15, atol=0)


@pytest.mark.parametrize("weight_decay", [-0.1, math.nan, math.inf])
def test_refuses_a_coefficient_that_is_none(weight_decay):
    with pytest.raises(ValueError, match="weight_decay must be"):
        decay_groups(nn.Linear(2, 2), weight_decay)


def test_refuses_what_has_no_parameters_yet():
    with pytest.raises(ValueError, match=r"weight must be initialized"):
        decay_groups(nn.LazyLinear(2), 0.1)


@pytest.mark.parametrize("sizes", [{}, {"kdim": 6, "vdim": 7}])
def test_attention_that_drops_heads_decays_as_attention_does(sizes):
    plain = nn.MultiheadAttention(8, 2, **sizes)
    heads = HeadDropout(nn.MultiheadAttention(8, 2, **sizes))
    assert names(heads, decay_groups(heads, 0.1)) == names(plain, decay_groups(plain, 0.1))
