"""What the worker's process and its device hold."""

from __future__ import annotations

import sys

from . import worker_pb2 as pb

_STATUS = "/proc/self/status"


def resident(status: str) -> tuple[int | None, int | None]:
    """Resident set and its peak in bytes, from the text of `/proc/self/status`. `None`: not told there."""
    return _bytes(status, "VmRSS"), _bytes(status, "VmHWM")


def _bytes(status: str, name: str) -> int | None:
    # Only the line that is wanted is taken apart.
    fields = status.partition(f"\n{name}:")[2].split(maxsplit=2)
    return int(fields[0]) * 1024 if fields[1:2] == ["kB"] else None


def read(device: str, kv_bytes: int | None = None) -> pb.Memory:
    """Memory as it is now.

    `device` is `cpu`, `cuda` or `cuda:N`; device memory is what this process's allocator holds there, its unused
    reserve included. `kv_bytes` is passed through.
    """
    try:
        # Unbuffered and opened by its name: this is read in every call.
        with open(_STATUS, "rb", buffering=0) as status:
            rss, peak = resident(status.read().decode("ascii", "replace"))
    except OSError:
        rss, peak = None, None
    return pb.Memory(host_rss_bytes=rss, host_peak_bytes=peak, device_used_bytes=_on_device(device), kv_bytes=kv_bytes)


def _on_device(device: str) -> int | None:
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda"):
        return None
    return int(torch.cuda.memory_reserved(device))
