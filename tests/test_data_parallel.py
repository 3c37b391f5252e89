"""Real data-parallel training: two processes, gloo, gradients averaged after every step."""

from pathlib import Path

import pytest
import torch

from helpers.two_processes import run_two

SCRIPT = """
import sys
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

import dropkit
from dropkit.schedule import linear
from dropkit.surgery import schedule_rates

distributed.init_process_group(
    "gloo", init_method=sys.argv[1], rank=int(sys.argv[2]), world_size=2
)
rank = distributed.get_rank()


def check_training(thinned):
    torch.manual_seed(0)  # the same on both
    net = nn.Sequential(
        nn.Linear(8, 64), nn.ReLU(), dropkit.Dropout(0.5), nn.Linear(64, 32), nn.BatchNorm1d(32),
        nn.ReLU(), dropkit.Dropout(0.5), nn.Linear(32, 1),
    )
    masks = []
    if thinned:
        net, plan = dropkit.thin(net, copy=False)
        assert len(plan.thinned) == 2, plan
    else:
        net[2].register_forward_hook(lambda layer, inputs, out: masks.append(out != 0))
    set_step = schedule_rates(net, {"*": linear(0.5, 0.0, steps=8)})
    parallel = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    x = torch.randn(256, 8)  # the same rows too: the masks alone tell the ranks apart
    for step in range(10):
        set_step(step)
        optimizer.zero_grad()
        parallel(x).square().mean().backward()
        optimizer.step()
        dropkit.max_norm_(net, 0.5)
        if thinned:
            kept = net[2].forward.units.making()
            mine = torch.zeros(64)
            if kept is not None:
                mine[kept[0]] = 1.0
        else:
            mine = masks[-1].float()
        masks_of_all = [torch.zeros_like(mine) for _ in range(2)]
        distributed.all_gather(masks_of_all, mine.contiguous())
        if step < 3:
            assert not torch.equal(*masks_of_all), f"the ranks drew the same mask in step {step}"
        for name, p in net.named_parameters():
            both = [torch.zeros_like(p) for _ in range(2)]
            distributed.all_gather(both, p.detach())
            assert torch.equal(*both), f"{name} differs between ranks after step {step}"
        for layer in net:
            if isinstance(layer, nn.Linear):
                assert layer.weight.norm(dim=1).max() <= 0.5 + 1e-6


check_training(thinned=False)
check_training(thinned=True)

# LayerDrop gives every parameter a gradient, so that none has to be searched for.
model = dropkit.noise.LayerDrop([nn.Linear(4, 4) for _ in range(4)], 0.5)
parallel = DistributedDataParallel(model)
skipped = 0
for _ in range(8):  # a parameter left out would raise at the call after
    model.zero_grad()
    parallel(torch.randn(3, 4)).sum().backward()
    skipped += sum(not weight.grad.any() for weight in model.parameters())
assert skipped, "no layer was skipped"
distributed.destroy_process_group()
print("done", flush=True)
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_ranks_draw_different_masks_and_stay_equal(tmp_path: Path) -> None:
    run_two(tmp_path, SCRIPT)
