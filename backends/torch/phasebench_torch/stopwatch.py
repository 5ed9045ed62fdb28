"""Times one phase: on the worker's clock, and on a CUDA device's own."""

from __future__ import annotations

import torch

from . import worker_pb2 as pb
from .clock import now

_NS_PER_MS = 1_000_000


class Stopwatch:
    """Times one stretch of a phase with up to `steps` steps in it.

    On a CUDA device the ends are synchronised; steps run on without waiting, and their ends are taken from events on
    the device's clock, set back from the synchronised end.
    """

    def __init__(self, phase: pb.Phase, device: torch.device, steps: int) -> None:
        self._phase = phase
        self._device = device
        self._begin = 0
        self._ends: list[int] = []
        self._steps = 0
        self._events = _events(steps + 2) if device.type == "cuda" else []

    def begin(self) -> None:
        """Reads the clock."""
        if self._events:
            torch.cuda.synchronize(self._device)
            self._begin = now()
            self._events[0].record()
        else:
            self._begin = now()

    def step(self) -> None:
        """Notes the end of one step."""
        self._steps += 1
        if self._events:
            self._events[self._steps].record()
        else:
            self._ends.append(now())

    @property
    def steps(self) -> int:
        """Steps finished so far."""
        return self._steps

    def end(self) -> pb.Span:
        """Waits for the device and reads the clock: the stretch up to the last finished step, if it has steps."""
        if not self._events:
            end = self._ends[-1] if self._ends else now()
            return pb.Span(phase=self._phase, begin_ns=self._begin, end_ns=end)
        last = self._events[self._steps] if self._steps else self._events[-1]
        if not self._steps:
            last.record()
        torch.cuda.synchronize(self._device)
        end = now()
        self._ends = [end - _ns(event.elapsed_time(last)) for event in self._events[1 : self._steps + 1]]
        device_ns = _ns(self._events[0].elapsed_time(last))
        return pb.Span(phase=self._phase, begin_ns=self._begin, end_ns=end, device_ns=device_ns)

    def step_ends(self) -> list[int]:
        """Ends of the finished steps on the worker's clock; after `end`."""
        return self._ends


def _events(count: int) -> list[torch.cuda.Event]:
    return [torch.cuda.Event(enable_timing=True) for _ in range(count)]  # type: ignore[no-untyped-call]


def _ns(milliseconds: float) -> int:
    return round(milliseconds * _NS_PER_MS)
