"""What the worker's process and its device hold."""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import dataclass

from . import worker_pb2 as pb

_STATUS = "/proc/self/status"
_CLEAR = "/proc/self/clear_refs"


@dataclass
class _Peak:
    """What is known of the peak that the kernel tells."""

    recent: bool = False
    """Whether it counts from the last `forget_peak`."""


_peak = _Peak()


def forget_peak() -> None:
    """Makes the peak count from now on, where the kernel allows that; where not, no peak is told."""
    try:
        with open(_CLEAR, "wb", buffering=0) as clear:
            # 5: the peak of the resident set becomes what is resident now.
            clear.write(b"5")
    except OSError:
        _peak.recent = False
    else:
        _peak.recent = True


def resident(status: str) -> tuple[int | None, int | None]:
    """Resident set and its peak in bytes, from the text of `/proc/self/status`. `None`: not told there."""
    return _bytes(status, "VmRSS"), _bytes(status, "VmHWM")


def _bytes(status: str, name: str) -> int | None:
    # Only the line that is wanted is taken apart.
    fields = status.partition(f"\n{name}:")[2].split(maxsplit=2)
    return int(fields[0]) * 1024 if fields[1:2] == ["kB"] else None


@functools.cache
def _opened() -> int:
    """The file, opened once: it is read in every call, and opening takes longer than reading."""
    return os.open(_STATUS, os.O_RDONLY | os.O_CLOEXEC)


def read(device: str, kv_bytes: int | None = None) -> pb.Memory:
    """Memory as it is now.

    `device` is `cpu`, `cuda` or `cuda:N`; device memory is what this process's allocator holds there, its unused
    reserve included. The host's peak is the one since `forget_peak`. `kv_bytes` is passed through.
    """
    try:
        rss, peak = resident(os.pread(_opened(), 1 << 14, 0).decode("ascii", "replace"))
    except OSError:
        rss, peak = None, None
    peak = peak if _peak.recent else None
    return pb.Memory(host_rss_bytes=rss, host_peak_bytes=peak, device_used_bytes=_on_device(device), kv_bytes=kv_bytes)


def _on_device(device: str) -> int | None:
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda"):
        return None
    return int(torch.cuda.memory_reserved(device))
