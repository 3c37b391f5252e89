"""A forward pass is followed only where it is the one that runs."""

from types import MethodType

import pytest
import torch
from torch import nn

from dropkit import surgery
from dropkit._graph import is_seen, trace
from dropkit.analytic import moments
from dropkit.surgery import insert


def patched():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2), nn.Sigmoid())
    net.forward = MethodType(lambda net, x: net[3](net[2](net[0](x).tanh())), net)
    return net


@pytest.mark.parametrize("follow", [trace, lambda net: moments(net)(torch.ones(1, 4))])
def test_a_forward_pass_of_the_model_itself_is_refused(follow):
    with pytest.raises(ValueError, match="must have the forward pass of its class to be traced"):
        follow(patched())


def test_surgery_goes_by_the_order_of_registration():
    _, report = surgery.insert(patched(), nn.Dropout())
    assert report.changed == ("1",)
    assert report.left == ("4: makes the model's output",)


class OwnAfter(nn.Module):
    """Has a child of its own of the name under which surgery puts layers."""

    def __init__(self):
        super().__init__()
        self.before, self.after = nn.Linear(4, 4), nn.ReLU()

    def forward(self, x):
        return self.after(self.before(x))


class OnlyAfter(nn.Module):
    def __init__(self):
        super().__init__()
        self.after = nn.Linear(4, 4)

    def forward(self, x):
        return self.after(x)


def test_a_child_that_is_named_after_by_the_model_is_a_child_like_any_other():
    model = nn.Sequential(OwnAfter(), OnlyAfter())
    targets = [str(node.target) for node in trace(model).nodes if node.op == "call_module"]
    assert targets == ["0.before", "0.after", "1.after"]
    assert not is_seen(model[0])
    new, _ = insert(nn.Linear(4, 4), nn.Dropout(0.5), after=nn.Linear)
    targets = [node.target for node in trace(nn.Sequential(new)).nodes if node.op == "call_module"]
    assert targets == ["0", "0.after"]
