"""A phase on a CUDA device ends when the device has finished, not when the host has asked for the work."""

from __future__ import annotations

import pytest
import torch

from phasebench_torch import stopwatch
from phasebench_torch import worker_pb2 as pb

MS = 1_000_000


class Device:
    """A device that finishes work some time after it was asked for, and the clock of a host that waits for it."""

    def __init__(self) -> None:
        self.now = 0
        self.busy_until = 0

    def ask(self, milliseconds: int) -> None:
        """The host asks for work and goes on at once."""
        self.busy_until = max(self.busy_until, self.now) + milliseconds * MS

    def clock(self) -> int:
        return self.now

    def synchronize(self, _device: torch.device) -> None:
        self.now = max(self.now, self.busy_until)

    def event(self, enable_timing: bool) -> Event:
        assert enable_timing
        return Event(self)


class Event:
    """Passes when the work before it is done."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._at: int | None = None

    def record(self) -> None:
        self._at = max(self._device.now, self._device.busy_until)

    def elapsed_time(self, other: Event) -> float:
        assert self._at is not None
        assert other._at is not None
        assert self._device.now >= other._at, "asked before the device was waited for"
        return (other._at - self._at) / MS


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    found = Device()
    monkeypatch.setattr(torch.cuda, "synchronize", found.synchronize)
    monkeypatch.setattr(torch.cuda, "Event", found.event)
    monkeypatch.setattr(stopwatch, "now", found.clock)
    return found


def test_a_phase_waits_for_the_device_at_both_ends(device: Device) -> None:
    watch = stopwatch.Stopwatch(pb.PHASE_PREFILL, torch.device("cuda:0"), 0)
    device.ask(30)  # what came before is none of the phase's
    watch.begin()
    device.ask(70)
    span = watch.end()
    assert (span.begin_ns, span.end_ns, span.device_ns) == (30 * MS, 100 * MS, 70 * MS)


def test_steps_end_when_the_device_ends_them(device: Device) -> None:
    watch = stopwatch.Stopwatch(pb.PHASE_KV_DECODE, torch.device("cuda:0"), 3)
    watch.begin()
    for milliseconds in (10, 20, 30):
        device.ask(milliseconds)
        watch.step()
    span = watch.end()
    assert (span.begin_ns, span.end_ns) == (0, 60 * MS)
    assert watch.step_ends() == [10 * MS, 30 * MS, 60 * MS]
