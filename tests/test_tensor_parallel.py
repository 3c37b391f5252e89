"""Tensor parallelism: masks that differ by the rows of the data, and agree where these agree."""

from pathlib import Path

import pytest
import torch

from helpers.two_processes import run_two

SCRIPT = """
import sys

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel, RowwiseParallel, SequenceParallel, parallelize_module,
)

from dropkit import doctor, replace
from dropkit.functional import dropout
from dropkit.noise import AlphaDropout, Dropout, Dropout2d, DropPath, GaussianDropout
from dropkit.random import set_data_parallel

distributed.init_process_group(
    "gloo", init_method=sys.argv[1], rank=int(sys.argv[2]), world_size=2
)
rank = distributed.get_rank()
mesh = init_device_mesh("cpu", (2,))


def both(mine):
    found = [torch.zeros_like(mine) for _ in range(2)]
    distributed.all_gather(found, mine.detach().contiguous())
    return found


def mask(seed=0, **more):
    torch.manual_seed(seed)  # the same on both
    return (dropout(torch.ones(64), **more) != 0).float()


# A net in tensor parallelism, as torch's tutorial has it: outputs and gradients are one net's.
torch.manual_seed(0)
plain = nn.Sequential(
    nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8), nn.Dropout(0.5), nn.Linear(8, 4)
)
whole, _ = replace(plain)
split, _ = replace(plain)
parallelize_module(split, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})
x = torch.randn(5, 8)
for net in (whole, split):
    torch.manual_seed(1)
    net(x).square().sum().backward()
torch.manual_seed(1)
out = split(x)
torch.manual_seed(1)
torch.testing.assert_close(out, whole(x))
assert torch.equal(*both(out)), "ranks of one tensor-parallel group dropped different units"
for mine, theirs in zip(split.parameters(), whole.parameters(), strict=True):
    grad = mine.grad.full_tensor() if isinstance(mine.grad, DTensor) else mine.grad
    torch.testing.assert_close(grad, theirs.grad)

# Groups and meshes to choose from.
assert torch.equal(*both(mask()))
set_data_parallel(distributed.group.WORLD)
assert not torch.equal(*both(mask()))
assert torch.equal(*both(mask(stream=3))) and torch.equal(*both(mask(seed=5, stream=0)))
set_data_parallel(init_device_mesh("cpu", (2, 1), mesh_dim_names=("dp", "tp")))
assert not torch.equal(*both(mask()))
named = init_device_mesh("cpu", (1, 2), mesh_dim_names=("dp", "tp"))
set_data_parallel(named)
assert torch.equal(*both(mask()))
set_data_parallel(named["tp"])
assert not torch.equal(*both(mask()))
for names in (None, ("a", "b")):
    wrong = init_device_mesh("cpu", (1, 2), mesh_dim_names=names)
    try:
        set_data_parallel(wrong)
    except ValueError as error:
        assert "must name the dimensions of the data, such as 'dp'" in str(error)
    else:
        raise AssertionError("a mesh of nameless dimensions must be refused")
set_data_parallel()
assert torch.equal(*both(mask()))

# Tensors in shards: the same parts have the same mask, other parts other ones.
rows = torch.ones(4, 6, 2, 2)
for place in (Replicate(), Shard(0), Shard(1)):
    x = distribute_tensor(rows.clone(), mesh, [place]).requires_grad_()
    torch.manual_seed(0)
    y = dropout(x, 0.5)
    assert isinstance(y, DTensor) and y.placements == (place,) and y.shape == rows.shape
    assert torch.equal(*both(y.to_local())) == place.is_replicate(), place
    y.full_tensor().sum().backward()
    assert torch.equal(x.grad.full_tensor(), y.full_tensor()), place
    assert set(y.full_tensor().flatten().tolist()) == {0.0, 2.0}
# Noise that is shared along the dimension that is split is shared among the processes.
x = distribute_tensor(rows.clone(), mesh, [Shard(2)])
y = Dropout2d(0.5)(x).full_tensor()
assert torch.equal(y, y[:, :, :1, :1].expand_as(y)) and 0 < (y == 0).sum() < y.numel()
for layer in (GaussianDropout(0.5), AlphaDropout(0.5), DropPath(0.5)):
    assert layer.train()(distribute_tensor(rows.clone(), mesh, [Shard(0)])).shape == rows.shape
x = distribute_tensor(rows.clone(), mesh, [Replicate()])
assert torch.equal(dropout(x, 0.5, seed=3).to_local(), dropout(rows, 0.5, seed=3))
refused = (
    (dict(seed=3), [Shard(0)], "a seed gives the mask of a whole tensor"),
    ({}, [Partial()], "got a partial sum"),
)
for more, places, message in refused:
    x = DTensor.from_local(rows.clone(), mesh, places)
    try:
        dropout(x, 0.5, **more)
    except (TypeError, ValueError) as error:
        assert message in str(error), error
    else:
        raise AssertionError(f"{message}: must be refused")
# The doctor examines a model whose layers the processes share.
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), Dropout(0.5), nn.Linear(8, 4), nn.Dropout(0.5))
parallelize_module(model, mesh, {"0": ColwiseParallel(), "3": RowwiseParallel()})
found = doctor(model, torch.ones(3, 6)).findings
assert [(finding.check, finding.path) for finding in found] == [("on-output", "4")], found
distributed.destroy_process_group()
print("done", flush=True)
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_processes_that_share_the_work_on_a_row(tmp_path: Path) -> None:
    run_two(tmp_path, SCRIPT)
