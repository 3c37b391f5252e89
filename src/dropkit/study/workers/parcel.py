"""Send one large object to many processes, which share the memory of its arrays."""

from __future__ import annotations

import mmap
import os
import pickle
import struct
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle  # type: ignore[import-untyped]

_ALIGNED = 64  # bytes: arrays are slow where their elements are not aligned


class Parcel:
    """An object, pickled once for all processes that need it.

    On Linux the pickle lies in a file in memory, which receivers map: arrays take memory once,
    and a receiver that writes into one gets a copy of its own. The file is gone when the last
    process closes it, however that ends. Elsewhere every receiver is sent a copy.
    """

    def __init__(self, value: Any) -> None:
        self._file: int | None = None
        if not hasattr(os, "memfd_create"):
            self._bytes: bytes = cloudpickle.dumps(value)
            return
        buffers: list[pickle.PickleBuffer] = []
        head = cloudpickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
        sizes = [part.nbytes for part in parts]
        self._bytes = struct.pack(f"{len(sizes)}q", *sizes)
        self._file = os.memfd_create("dropkit")
        with open(self._file, "wb", closefd=False) as file:
            for part in parts:
                file.write(part)
                file.write(bytes(-part.nbytes % _ALIGNED))

    def send(self, connection: Connection) -> None:
        """Send the object to the process at the other end, which calls `receive`."""
        connection.send_bytes(self._bytes)
        if self._file is not None:
            reduction.send_handle(connection, self._file, 0)

    def close(self) -> None:
        """Release the memory, as far as no receiver uses it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def receive(connection: Connection) -> Any:
    """Return the object that the other end sends with `Parcel.send`."""
    content = connection.recv_bytes()
    if not hasattr(os, "memfd_create"):
        return pickle.loads(content)
    file = reduction.recv_handle(connection)
    try:
        # Private: what a receiver writes is seen by nobody else.
        memory = memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_COPY))
    finally:
        os.close(file)
    parts, start = [], 0
    for (size,) in struct.iter_unpack("q", content):
        parts.append(memory[start : start + size])
        start += size + -size % _ALIGNED
    return pickle.loads(parts[0], buffers=parts[1:])
