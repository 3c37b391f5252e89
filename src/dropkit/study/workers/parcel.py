"""Send a large object to many processes, which share the memory of its arrays."""

from __future__ import annotations

import mmap
import os
import pickle
import struct
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle  # type: ignore[import-untyped]

_ALIGNED = 64  # alignment of arrays in bytes; unaligned arrays are slow


class Parcel:
    """An object that is pickled once for all receivers.

    On Linux, the pickle is in a file in memory that receivers map. So arrays take memory only once;
    a receiver that writes to an array gets its own copy. The file disappears when the last process
    closes it or ends. On other systems, every receiver gets a copy.
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
        """Release the memory, unless a receiver still uses it."""
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
        # A private mapping: no other process sees what a receiver writes.
        memory = memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_COPY))
    finally:
        os.close(file)
    parts, start = [], 0
    for (size,) in struct.iter_unpack("q", content):
        parts.append(memory[start : start + size])
        start += size + -size % _ALIGNED
    return pickle.loads(parts[0], buffers=parts[1:])
