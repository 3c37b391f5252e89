"""Lazy updates: those of the dense optimizer where units were kept, none elsewhere, in float64."""

import copy
import gc
import pickle

import pytest
import torch
from torch import nn

import dropkit
from dropkit.thinned import LazyOptimizer
from helpers.masked_net import double

pytestmark = pytest.mark.usefixtures("always")

MLP = (
    lambda: (
        *(nn.Dropout(0.3), nn.Linear(7, 12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 16)),
        *(nn.Tanh(), nn.Dropout(0.25), nn.Linear(16, 3)),
    ),
    (9, 7),
    # A layer of weights, the dropout layers of its outputs and inputs, inputs for each unit.
    {1: (3, 0, 1), 4: (6, 3, 1), 7: (None, 6, 1)},
)
IMAGES = (
    lambda: (
        *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.5)),
        *(nn.Conv2d(8, 6, 3), nn.ELU(), nn.Dropout2d(0.5), nn.Flatten(), nn.Linear(6 * 4, 5)),
    ),
    (6, 3, 10, 10),
    {0: (3, None, 1), 4: (6, 3, 1), 8: (None, 6, 4)},
)
OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "Nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1),
    "AMSGrad": lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True),
    "fused": lambda p: torch.optim.Adam(p, lr=0.1, fused=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1, foreach=False),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.1),
    "RAdam": lambda p: torch.optim.RAdam(p, lr=0.1),
    "Adamax": lambda p: torch.optim.Adamax(p, lr=0.1),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.1),
    "Adadelta": lambda p: torch.optim.Adadelta(p, lr=0.1),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.9, centered=True),
}


def among(size, kept):
    """Where one of the groups kept a unit."""
    found = torch.zeros(size, dtype=torch.bool)
    for index in kept:
        found[index] = True
    return found


def moving(net, layers):
    """Which elements of each weight the last pass kept."""
    found = {}
    for name, (outer, inner, repeat) in layers.items():
        weight = net[name].weight
        rows, columns = (
            torch.ones(size, dtype=torch.bool)
            if drop is None
            else among(size // each, net[drop].forward.units.making()).repeat_interleave(each)
            for size, drop, each in ((len(weight), outer, 1), (weight.shape[1], inner, repeat))
        )
        block = rows[:, None] & columns
        found[f"{name}.weight"] = block.view(*block.shape, *[1] * (weight.dim() - 2))
    return found


def setup(make, optimizer, groups=1):
    """Return a thinned net with lazy updates, and a dense twin of its parameters."""
    net, _ = dropkit.thin(double(*make()), groups)
    twin = {name: nn.Parameter(p.detach().clone()) for name, p in net.named_parameters()}
    return net, LazyOptimizer(optimizer(net.parameters()), net), twin, optimizer(twin.values())


def step(net, lazy, twin, dense, blocks):
    """Update both, the twin by the dense optimizer whose changes elsewhere are taken back."""
    before = {name: q.detach().clone() for name, q in twin.items()}
    state = {q: copy.deepcopy(values) for q, values in dense.state.items()}
    for name, p in net.named_parameters():
        twin[name].grad = None if p.grad is None else p.grad.clone()
    lazy.step()
    dense.step()
    for name, block in blocks.items():
        q = twin[name]
        q.data.copy_(torch.where(block, q.data, before[name]))
        for key, value in dense.state[q].items():
            if isinstance(value, torch.Tensor) and value.shape == q.shape:
                old = state.get(q, {}).get(key)
                value.copy_(torch.where(block, value, torch.zeros_like(q) if old is None else old))
    for name, p in net.named_parameters():
        torch.testing.assert_close(p, twin[name], rtol=1e-12, atol=1e-13)
        for key, value in dense.state[twin[name]].items():
            assert key in lazy.state[p]
            torch.testing.assert_close(lazy.state[p][key], value, rtol=1e-12, atol=1e-13)


def backward(net, shape):
    x = torch.randn(shape, dtype=torch.float64)
    (net(x) - 1).square().mean().backward()


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_kept_parts_move_as_ever_and_nothing_else(name, groups):
    make, shape, layers = MLP
    net, lazy, *others = setup(make, OPTIMIZERS[name], groups)
    for _ in range(5):
        lazy.zero_grad()
        backward(net, shape)
        blocks = moving(net, layers)
        assert groups > 1 or not any(block.all() for block in blocks.values())
        step(net, lazy, *others, blocks)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", ["momentum", "Adam"])
@pytest.mark.parametrize("case", [MLP, IMAGES])
def test_layers_of_both_kinds_with_and_without_the_kernel(case, name):
    make, shape, layers = case
    net, lazy, *others = setup(make, OPTIMIZERS[name])
    for _ in range(4):
        lazy.zero_grad()
        backward(net, shape)
        step(net, lazy, *others, moving(net, layers))


def test_accumulated_gradients_join_their_masks():
    make, shape, layers = MLP
    net, lazy, *others = setup(make, OPTIMIZERS["momentum"])
    for _ in range(3):
        lazy.zero_grad()
        sides = []
        for _ in range(2):
            backward(net, shape)
            sides.append(
                {
                    name: (b.any(1, keepdim=True), b.any(0))
                    for name, b in moving(net, layers).items()
                }
            )
        blocks = {name: (a | sides[1][name][0]) & (b | sides[1][name][1])
                  for name, (a, b) in sides[0].items()}  # fmt: skip
        step(net, lazy, *others, blocks)


def test_a_pass_of_all_units_moves_all():
    make, shape, _ = MLP
    net, lazy, *others = setup(make, OPTIMIZERS["Adam"])
    net.eval()
    backward(net, shape)
    step(net, lazy, *others, {})
    net.train()
    with torch.no_grad():
        net(torch.randn(shape, dtype=torch.float64))  # is not followed by a step
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    step(net, lazy, *others, {})


def test_parameters_of_several_layers_move_as_ever():
    net = double(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 8), nn.Linear(8, 4))
    net[3].weight = net[0].weight
    net, _ = dropkit.thin(net)
    with pytest.raises(ValueError, match="weights of its own"):
        LazyOptimizer(torch.optim.SGD(net.parameters(), lr=0.1), net)
    net = double(*net[:4], nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 4))
    net[3].weight = net[0].weight
    for layer in net:
        layer.__dict__.pop("forward", None)
    net, _ = dropkit.thin(net)
    lazy = LazyOptimizer(torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.1), net)
    before = copy.deepcopy(net.state_dict())
    backward(net, (5, 8))
    lazy.step()
    assert bool((net[0].weight != before["0.weight"]).any(1).all())
    assert (net[6].weight != before["6.weight"]).any(0).sum() == 4


def test_it_is_an_optimizer():
    make, shape, _ = MLP
    net, lazy, _, dense = setup(make, OPTIMIZERS["Adam"])
    schedule = torch.optim.lr_scheduler.LambdaLR(lazy, lambda epoch: 1 / (epoch + 1))

    def closure():
        lazy.zero_grad()
        backward(net, shape)
        return 7.0

    assert lazy.step(closure) == 7.0
    schedule.step()
    assert lazy.optimizer.param_groups[0]["lr"] == 0.05
    dense.load_state_dict(lazy.state_dict())
    other = LazyOptimizer(torch.optim.Adam(net.parameters()), net)
    other.load_state_dict(lazy.state_dict())
    weight = net[1].weight
    assert torch.equal(other.state[weight]["exp_avg"], lazy.state[weight]["exp_avg"])
    assert other.optimizer.state is other.state
    lazy.step(closure)
    extra = nn.Parameter(torch.ones(2))
    lazy.add_param_group({"params": [extra]})
    extra.grad = torch.ones(2)
    lazy.step()
    assert bool((extra != 1).all())


def test_the_optimizer_may_load_its_own_state():
    make, shape, layers = MLP
    net, lazy, twin, dense = setup(make, OPTIMIZERS["Adam"])
    for _ in range(3):
        lazy.zero_grad()
        backward(net, shape)
        step(net, lazy, twin, dense, moving(net, layers))
        for optimizer in (lazy.optimizer, dense):
            optimizer.load_state_dict(optimizer.state_dict())
        lazy.param_groups[0]["lr"] = dense.param_groups[0]["lr"] = 0.01


def test_a_net_that_is_thinned_again_needs_it_anew():
    net, plan = dropkit.thin(
        nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 3))
    )
    lazy = LazyOptimizer(torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.1), net)
    dropkit.thin(plan.undo(net, copy=False), copy=False)
    for rows in (20, 10):
        before = net[0].weight.detach().clone()
        lazy.zero_grad()
        net(torch.randn(9, 6)).square().sum().backward()
        lazy.step()
        assert (net[0].weight != before).any(1).sum() == rows
        lazy = LazyOptimizer(lazy.optimizer, net)


@pytest.mark.parametrize("again", [copy.deepcopy, copy.copy, pickle.dumps])
def test_it_is_not_copied_without_its_model(again):
    _, lazy, *_ = setup(MLP[0], OPTIMIZERS["Adam"])
    with pytest.raises(TypeError, match=r"save its state_dict\(\), or copy the model with"):
        again(lazy)


def noted(net):
    """What is held of each thinned layer's passes."""
    layers = (vars(layer).get("forward") for layer in net)
    return [layer.passes for layer in layers if hasattr(layer, "passes")]


def test_passes_are_noted_for_an_optimizer_that_lives():
    make, shape, _ = MLP
    net, _ = dropkit.thin(nn.Sequential(*make()).double())
    first = LazyOptimizer(torch.optim.Adam(net.parameters()), net)
    backward(net, shape)
    assert [len(passes) for passes in noted(net)] == [1, 1, 1]
    assert noted(copy.deepcopy(net)) == [None] * 3
    second = LazyOptimizer(first.optimizer, net)
    del first
    gc.collect()
    backward(net, shape)
    assert [len(passes) for passes in noted(net)] == [1, 1, 1]
    del second
    gc.collect()
    assert noted(net) == [None] * 3


def test_an_error_leaves_the_parameters_in_place(monkeypatch):
    make, shape, _ = MLP
    net, lazy, *_ = setup(make, OPTIMIZERS["Adam"])
    backward(net, shape)
    monkeypatch.setattr(lazy.optimizer, "step", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        lazy.step()
    assert all(
        p is q for p, q in zip(lazy.param_groups[0]["params"], net.parameters(), strict=True)
    )
    assert set(lazy.state) <= set(net.parameters())


def test_what_is_refused(monkeypatch):
    net = double(*MLP[0]())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"call dropkit\.thin first"):
        LazyOptimizer(optimizer, net)
    net, _ = dropkit.thin(net, copy=False)
    with pytest.raises(TypeError, match=r"elementwise optimizers.*got torch\.optim\.lbfgs\.LBFGS"):
        LazyOptimizer(torch.optim.LBFGS(net.parameters()), net)
    lazy = LazyOptimizer(optimizer, net)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(RuntimeError, match="one process"):
        lazy.step()


@pytest.mark.usefixtures("way")
# Not Adam with its decay, which where it cancels the gradient magnifies the rounding of the sum.
@pytest.mark.parametrize("name", ["momentum", "Nesterov", "AdamW"])
@pytest.mark.parametrize("threads", [1, 2])
def test_large_layers_in_single_precision(name, threads):
    net = nn.Sequential(nn.Linear(300, 500), nn.ReLU(), nn.Dropout(0.5), nn.Linear(500, 400))
    net, _ = dropkit.thin(net)
    lazy, dense = LazyOptimizer(OPTIMIZERS[name](net.parameters()), net), copy.deepcopy(net)
    other = OPTIMIZERS[name](dense.parameters())
    before, started = net[3].weight.detach().clone(), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        net(torch.randn(200, 300)).square().mean().backward()
        for p, q in zip(net.parameters(), dense.parameters(), strict=True):
            q.grad = p.grad.clone()
        lazy.step()
        other.step()
    finally:
        torch.set_num_threads(started)
    kept = among(500, net[2].forward.units.making())
    assert torch.equal(net[3].weight[:, ~kept], before[:, ~kept])
    torch.testing.assert_close(net[3].weight[:, kept], dense[3].weight[:, kept])
    torch.testing.assert_close(net[0].weight[kept], dense[0].weight[kept])


def test_within_a_compiled_net():
    make, shape, layers = MLP
    net, lazy, *others = setup(make, OPTIMIZERS["momentum"])
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    for _ in range(3):
        lazy.zero_grad()
        backward(compiled, shape)
        step(net, lazy, *others, moving(net, layers))


def test_nothing_is_noted_of_weights_that_are_never_updated():
    layers = nn.Linear(6, 40), nn.ReLU(), nn.Dropout(), nn.Linear(40, 1)
    net, _ = dropkit.thin(nn.Sequential(*layers))
    net[0].requires_grad_(False)
    head = LazyOptimizer(torch.optim.SGD(net[3].parameters(), lr=0.1), net)
    for _ in range(5):
        head.zero_grad()
        net(torch.randn(9, 6)).sum().backward()
        head.step()
    assert net[0].forward.passes is None
    whole = LazyOptimizer(torch.optim.SGD(net.parameters(), lr=0.1), net)
    for _ in range(5):
        whole.zero_grad()
        net(torch.randn(9, 6)).sum().backward()
        whole.step()
    assert net[0].forward.passes == net[3].forward.passes == []
