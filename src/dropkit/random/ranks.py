"""Which of the processes that train together draw noise of their own, and which agree.

Processes that see other rows of the data should draw other noise. Those that share the work on one
row, as tensor parallelism does, must draw the same, or they train nets that do not fit together.
"""

import sys
from collections.abc import Iterator
from typing import Any

from torch import distributed
from torch.nn.parallel import DistributedDataParallel

#: Names of the dimensions of a mesh along which the data is split.
_DATA = {
    "dp", "data", "data_parallel", "ddp", "fsdp", "hsdp", "batch", "replicate", "shard",
    "dp_replicate", "dp_shard", "dp_cp", "batch_shard",
}  # fmt: skip

_chosen: int | None = None


def set_data_parallel(over: Any = None) -> None:
    """Choose the processes that draw noise of their own: those with other rows of the data.

    A choice for the whole process. Without it the processes of ``DistributedDataParallel`` and of
    ``fully_shard`` draw noise of their own, and all others agree if they were seeded alike.

    Args:
        over: a process group, or a ``DeviceMesh``. Of a mesh it is the dimensions that are named
            as the data's, such as "dp"; of a mesh of one dimension, that one.
            ``torch.distributed.group.WORLD`` is every process. Default: as without a choice.

    Raises:
        ValueError: no dimension of the mesh is named as the data's; this process is not in the
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
            raise ValueError("over must be a group that this process is in, but it is not")
        _chosen = rank


def data_rank() -> int:
    """Return this process's number among those with other rows of the data, 0 if it is alone."""
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


# A constant of compiled programs, as ``torch.compiler.assume_constant_result`` would make it, which
# imports all of the compiler.
data_rank._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _of_mesh(mesh: Any, dims: list[int]) -> int:
    """This process's number along some dimensions of a mesh."""
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
    """Meshes that ``fully_shard`` splits the data over, with the dimensions that do so."""
    states = sys.modules.get("torch.distributed._composable_state")
    for state in list(getattr(states, "_module_state_mapping", {}).values()):
        group = getattr(state(), "_fsdp_param_groups", None)
        info = getattr(group[0], "mesh_info", None) if group else None
        if info is not None:
            dims = [info.replicate_mesh_dim, info.shard_mesh_dim]
            yield info.mesh, [dim for dim in dims if dim is not None]
