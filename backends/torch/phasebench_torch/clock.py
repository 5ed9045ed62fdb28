"""The worker's clock: CLOCK_MONOTONIC, and which kernel and time namespace it belongs to."""

from __future__ import annotations

import time
from pathlib import Path

from . import worker_pb2 as pb

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_OFFSETS = Path("/proc/self/timens_offsets")


def now() -> int:
    """Nanoseconds on CLOCK_MONOTONIC. Only differences mean something, also between processes of one box."""
    return time.monotonic_ns()


def namespace_offset(text: str) -> int:
    """The monotonic offset in nanoseconds from the text of `/proc/self/timens_offsets`; 0 where it names none.

    Each line is a clock's name or number, seconds and nanoseconds.
    """
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[0] in ("monotonic", "1"):
            return int(fields[1]) * 1_000_000_000 + int(fields[2])
    return 0


def source() -> pb.ClockSource:
    """Says which clock `now` reads. Without a boot id (no Linux) the kind is OTHER."""
    boot_id = _read(_BOOT_ID).strip()
    kind = pb.ClockSource.MONOTONIC if boot_id else pb.ClockSource.OTHER
    return pb.ClockSource(kind=kind, boot_id=boot_id, namespace_offset_ns=namespace_offset(_read(_OFFSETS)))


def _read(path: Path) -> str:
    """The text of a file, empty where there is none."""
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
