"""Training in shards: two processes, gloo, ``fully_shard``."""

from pathlib import Path

import pytest
import torch

from helpers.two_processes import run_two

SCRIPT = """
import copy
import sys

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

import dropkit

distributed.init_process_group(
    "gloo", init_method=sys.argv[1], rank=int(sys.argv[2]), world_size=2
)
rank = distributed.get_rank()
mesh = init_device_mesh("cpu", (2,))


def same(sharded, whole, what):
    for (name, mine), theirs in zip(sharded.named_parameters(), whole.parameters(), strict=True):
        assert isinstance(mine, DTensor), name
        assert torch.equal(mine.full_tensor(), theirs), f"{what}: {name}"


def loud(*layers):
    net = nn.Sequential(*layers)
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(5)
    return net


# Every kind of layer, its units whole on a rank and not; seven rows do not fall in halves.
torch.manual_seed(0)
kinds = loud(
    nn.Linear(5, 7), nn.Linear(9, 1), nn.Conv2d(4, 6, 3, groups=2), nn.Embedding(7, 3),
    nn.ConvTranspose1d(7, 3, 2), nn.ConvTranspose2d(6, 4, 3, groups=2), nn.Bilinear(2, 3, 5),
    nn.GRU(3, 4), nn.MultiheadAttention(6, 2),
)
for dim in (0, 1):
    sharded, whole = copy.deepcopy(kinds), copy.deepcopy(kinds)
    place = lambda weight: Shard(dim if weight.dim() > 1 else 0)
    even = [p for p in sharded.parameters() if dim == 0 or p.dim() < 2 or p.shape[1] % 2 == 0]
    odd = {p for p in sharded.parameters()} - set(even)  # fully_shard wants those in halves
    fully_shard(sharded, mesh=mesh, shard_placement_fn=place, ignored_params=odd)
    dropkit.max_norm_(sharded, 0.7)
    dropkit.max_norm_(whole, 0.7)
    for (name, mine), theirs in zip(sharded.named_parameters(), whole.parameters(), strict=True):
        mine = mine.full_tensor() if isinstance(mine, DTensor) else mine
        assert torch.equal(mine, theirs), (dim, name)
    before = [p.full_tensor() for p in sharded.parameters() if isinstance(p, DTensor)]
    dropkit.max_norm_(sharded, 0.7)
    after = [p.full_tensor() for p in sharded.parameters() if isinstance(p, DTensor)]
    assert len(after) > 10
    assert all(map(torch.equal, before, after)), "not idempotent"

# A weight itself, on a mesh of two dimensions; and one whose norms overflow.
weight = torch.randn(6, 4) * torch.tensor([1, 1, 1e30, 1, 1e-30, 1])[:, None]
for places in ([Replicate(), Shard(0)], [Shard(1), Replicate()], [Shard(0), Shard(1)]):
    wide = init_device_mesh("cpu", (2, 1))
    mine = dropkit.max_norm_(distribute_tensor(weight.clone(), wide, places), 0.5)
    assert torch.equal(mine.full_tensor(), dropkit.max_norm_(weight.clone(), 0.5)), places

# Training: the weights are those of one process that sees both ranks' rows, without noise.
torch.manual_seed(0)
layers = nn.Linear(8, 7), nn.ReLU(), dropkit.Dropout(0.0), nn.Linear(7, 1)
whole = nn.Sequential(*layers).double()
sharded = copy.deepcopy(whole)
fully_shard(sharded[0], mesh=mesh)
fully_shard(sharded, mesh=mesh)
x = torch.randn(32, 8, dtype=torch.float64)
for net, rows in ((whole, x), (sharded, x[16 * rank :][:16])):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(5):
        optimizer.zero_grad()
        net(rows).square().mean().backward()
        optimizer.step()
        dropkit.max_norm_(net, 0.5)
for mine, theirs in zip(sharded.parameters(), whole.parameters(), strict=True):
    torch.testing.assert_close(mine.full_tensor(), theirs, rtol=1e-12, atol=1e-14)
assert sharded[0].weight.full_tensor().norm(dim=1).max() > 0.49, "the bound was never met"

# Ranks that were seeded alike, and see the same rows, draw different masks.
sharded[2].p = 0.5
masks = []
sharded[2].register_forward_hook(lambda layer, inputs, out: masks.append(out != 0))
torch.manual_seed(0)
sharded(torch.ones(64, 8, dtype=torch.float64))
both = [torch.zeros_like(masks[0]) for _ in range(2)]
distributed.all_gather(both, masks[0])
active = sharded[0](torch.ones(1, 8, dtype=torch.float64)) > 0
assert active.any()
assert not torch.equal(*both), "the ranks drew the same mask"

# Flattened weights have no units left.
cpu = torch.device("cpu")
flat = FullyShardedDataParallel(nn.Linear(4, 4), device_id=cpu, use_orig_params=True)
try:
    dropkit.max_norm_(flat, 1.0)
except ValueError as error:
    assert "fully_shard, which does not flatten weights" in str(error), error
else:
    raise AssertionError("flattened weights must be refused")
distributed.destroy_process_group()
print("done", flush=True)
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_processes_that_share_the_weights(tmp_path: Path) -> None:
    run_two(tmp_path, SCRIPT)
