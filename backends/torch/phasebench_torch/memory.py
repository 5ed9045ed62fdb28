"""What the worker's process and its device hold."""

from __future__ import annotations

import sys
from pathlib import Path

from . import worker_pb2 as pb

_STATUS = Path("/proc/self/status")


def resident(status: str) -> tuple[int | None, int | None]:
    """Resident set and its peak in bytes, from the text of `/proc/self/status`. `None`: not told there."""
    found: dict[str, int] = {}
    for line in status.splitlines():
        name, _, rest = line.partition(":")
        fields = rest.split()
        if name in ("VmRSS", "VmHWM") and len(fields) == 2 and fields[1] == "kB":
            found[name] = int(fields[0]) * 1024
    return found.get("VmRSS"), found.get("VmHWM")


def read(device: str, kv_bytes: int | None = None) -> pb.Memory:
    """Memory as it is now.

    `device` is `cpu`, `cuda` or `cuda:N`; device memory is what this process's allocator holds there, its unused
    reserve included. `kv_bytes` is passed through.
    """
    try:
        rss, peak = resident(_STATUS.read_text(encoding="ascii"))
    except OSError:
        rss, peak = None, None
    return pb.Memory(host_rss_bytes=rss, host_peak_bytes=peak, device_used_bytes=_on_device(device), kv_bytes=kv_bytes)


def _on_device(device: str) -> int | None:
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda"):
        return None
    return int(torch.cuda.memory_reserved(device))
