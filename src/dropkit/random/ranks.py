"""Find out which processes of a distributed training draw different noise.

Processes with different rows of the data should draw different noise. Processes that share the work
on a row, as in tensor parallelism, must draw the same noise; otherwise their parts of the network
do not fit together.
"""

import sys
from collections.abc import Iterator
from typing import Any

from torch import distributed
from torch.nn.parallel import DistributedDataParallel

#: Common names of mesh dimensions along which the data is split.
_DATA = {
    "dp", "data", "data_parallel", "ddp", "fsdp", "hsdp", "batch", "replicate", "shard",
    "dp_replicate", "dp_shard", "dp_cp", "batch_shard",
}  # fmt: skip

_chosen: int | None = None


def set_data_parallel(over: Any = None) -> None:
    """Set the processes that have different rows of the data, and so must draw different noise.

    The setting applies to the whole process. By default, processes of ``DistributedDataParallel``
    and ``fully_shard`` draw different noise. All other processes draw the same noise if they have
    the same random state.

    Args:
        over: a process group, or a ``DeviceMesh``. In a mesh, the data dimensions are those with a
            name such as "dp"; a mesh with one dimension needs no name.
            ``torch.distributed.group.WORLD`` means all processes. None restores the default.

    Raises:
        ValueError: the mesh has no dimension with a data-parallel name; this process is not in the
            group.

    >>> set_data_parallel()  # back to the default
    """
    global _chosen
    if over is None:
        _chosen = None
    elif hasattr(over, "mesh_dim_names"):
        _chosen = _of_mesh(over, _data_dims(over))
    else:
        rank = distributed.get_rank(over)
        if rank < 0:
            raise ValueError("over must be a group that contains this process, but it does not")
        _chosen = rank


def data_rank() -> int:
    """Return this process's data-parallel rank; 0 without data-parallel training."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0
    if _chosen is not None:
        return _chosen
    active = getattr(DistributedDataParallel, "_active_ddp_module", None)
    if active is not None:
        return distributed.get_rank(active.process_group)
    for mesh, dims in _sharded_meshes():
        return _of_mesh(mesh, dims)
    return 0


# Make the rank a constant of compiled programs, like ``torch.compiler.assume_constant_result``, but
# without importing the compiler.
data_rank._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _of_mesh(mesh: Any, dims: list[int]) -> int:
    """Return this process's rank along some dimensions of a mesh."""
    rank = 0
    for dim in dims:
        rank = rank * mesh.size(dim) + mesh.get_local_rank(dim)
    return rank


def _data_dims(mesh: Any) -> list[int]:
    names = mesh.mesh_dim_names or ()
    if mesh.ndim == 1:
        return [0]
    found = [dim for dim, name in enumerate(names) if name in _DATA]
    if not found:
        raise ValueError(
            f"a mesh must name the dimensions of the data, such as 'dp', got {tuple(names)}; give "
            "one of them, set_data_parallel(mesh['name'])"
        )
    return found


def _sharded_meshes() -> Iterator[tuple[Any, list[int]]]:
    """Yield the meshes of ``fully_shard`` with the dimensions along which the data is split."""
    states = sys.modules.get("torch.distributed._composable_state")
    for state in list(getattr(states, "_module_state_mapping", {}).values()):
        group = getattr(state(), "_fsdp_param_groups", None)
        info = getattr(group[0], "mesh_info", None) if group else None
        if info is not None:
            dims = [info.replicate_mesh_dim, info.shard_mesh_dim]
            yield info.mesh, [dim for dim in dims if dim is not None]
