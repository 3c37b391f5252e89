"""A forward pass is followed only where it is the one that runs."""

from types import MethodType

import pytest
import torch
from torch import nn

from dropkit import surgery
from dropkit._graph import trace
from dropkit.analytic import moments


def patched():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2), nn.Sigmoid())
    net.forward = MethodType(lambda net, x: net[3](net[2](net[0](x).tanh())), net)
    return net


@pytest.mark.parametrize("follow", [trace, lambda net: moments(net)(torch.ones(1, 4))])
def test_a_forward_pass_of_the_model_itself_is_refused(follow):
    with pytest.raises(ValueError, match="must be that of its class to be followed"):
        follow(patched())


def test_surgery_goes_by_the_order_of_registration():
    _, report = surgery.insert(patched(), nn.Dropout())
    assert report.changed == ("1",)
    assert report.left == ("4: makes the model's output",)
