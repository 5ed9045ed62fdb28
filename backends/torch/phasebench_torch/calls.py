"""One call: its phases in order, timed and proven.

Nothing is checked, moved to the host or logged while a phase is timed.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from . import worker_pb2 as pb
from .errors import Cancelled
from .evidence import PhaseWindow
from .model import EmptyingCache, Model, cache_bytes, cache_devices, rewind
from .passes import Pass
from .rows import GrowingRows, KeptRows
from .stopwatch import Stopwatch

Observer = Callable[[torch.Tensor], None]
"""Is shown the logits [rows, vocabulary] of every pass. Costs time inside the phases; set only for a probe."""


@dataclass(frozen=True)
class Passes:
    """The forward passes of a loaded model."""

    prefill: Pass
    decode: Pass
    uncached: Pass


@dataclass(frozen=True)
class Work:
    """What a call is to do, checked."""

    prompts: Sequence[Sequence[int]]
    padded_to: int
    steps: int
    """Steps to time; 0: the prefill only."""
    cancelled: threading.Event
    observe: Observer | None = None


class TimedCall(ABC):
    """Runs one procedure on one set of prompts, once or repeatedly, into a reply.

    The reply holds what was done also when a repetition raises: of the first, everything finished; of later ones,
    whole repetitions only.
    """

    windows: list[PhaseWindow]
    """Evidence, one for each phase."""
    tokens: torch.Tensor
    """New tokens [rows, columns]; those of the first repetition are copied into the reply."""

    def __init__(self, model: Model, work: Work) -> None:
        self.reply = pb.CallReply(prompt_tokens=[len(row) for row in work.prompts])
        self.logits_devices: set[str] = set()
        """Devices that logits were seen on."""
        self._model = model
        self._work = work
        self._first = True
        # Columns of `tokens` that are filled.
        self._made = 0

    @property
    def kv_bytes(self) -> int | None:
        """Bytes of the KV cache in use. `None`: the procedure has none."""
        return None

    @property
    def cache_devices(self) -> set[str]:
        """Devices of the KV cache in use; empty if there is none."""
        return set()

    @abstractmethod
    def _run(self) -> int:
        """One repetition. The number of graphs that were compiled meanwhile."""

    def once(self) -> int:
        """One repetition. The number of graphs that were compiled meanwhile.

        Raises:
            Cancelled: between two steps or phases.
            Exception: whatever the engine raised.
        """
        self._stop_if_cancelled()
        kept = len(self.reply.spans)
        self._made = 0
        try:
            return self._run()
        except BaseException:
            if not self._first:
                del self.reply.spans[kept:]
            raise
        finally:
            if self._first:
                made = self.tokens[:, : self._made].tolist() if self._made else []
                self.reply.tokens.extend(pb.Prompt(ids=row) for row in made)
            self._first = False

    def repeat(self, duration_ns: int, gap_ns: int) -> None:
        """Repetitions until `duration_ns` have passed and the one under way is done, `gap_ns` apart.

        The time runs from the first phase, as the caller sees it: what comes before is not part of the window.
        """
        self.once()
        spans = self.reply.spans
        while spans[-1].end_ns - spans[0].begin_ns < duration_ns:
            if gap_ns:
                self._work.cancelled.wait(gap_ns / 1e9)
            self.once()

    def _stop_if_cancelled(self) -> None:
        if self._work.cancelled.is_set():
            raise Cancelled

    def _seen(self, logits: torch.Tensor) -> None:
        self.logits_devices.add(str(logits.device))

    def _span(self, watch: Stopwatch) -> None:
        span = watch.end()
        self.reply.spans.append(span)
        if span.HasField("device_ns"):
            gap = max(span.end_ns - span.begin_ns - span.device_ns, 0)
            self.reply.durations_ns["cuda_event_gap"] += gap

    def _steps_span(self, watch: Stopwatch) -> None:
        """The span up to the last finished step; none if no step was finished."""
        if not watch.steps:
            return
        self._span(watch)
        if self._first:
            self.reply.steps_timed = watch.steps
            self.reply.step_ends_ns.extend(watch.step_ends())


class CachedCall(TimedCall):
    """A prefill and, if there are steps, decode steps on its KV cache."""

    def __init__(
        self, model: Model, passes: Passes, work: Work, *, cache: EmptyingCache, kept: KeptRows, bucket: int
    ) -> None:
        super().__init__(model, work)
        self._passes = passes
        self._kept_cache = cache
        self._cache = cache.cache
        self._rows = kept.of(
            work.prompts, padded_to=work.padded_to, computed=bucket or work.padded_to, steps=work.steps
        )
        self._bucket = bucket
        self.tokens = self._rows.tokens
        self.windows = [PhaseWindow(passes.prefill, bucket)]
        if work.steps:
            self.windows.append(PhaseWindow(passes.decode))

    @property
    def kv_bytes(self) -> int | None:
        """Bytes of the KV cache in use."""
        return cache_bytes(self._cache)

    @property
    def cache_devices(self) -> set[str]:
        """Devices of the KV cache in use."""
        return cache_devices(self._cache)

    def _run(self) -> int:
        self._kept_cache.take()
        self._rows.take()
        window = self.windows[0]
        window.open()
        try:
            tokens = self._prefill()
        finally:
            compiled = window.close()
        if not self._work.steps:
            return compiled
        self._stop_if_cancelled()
        window, before = self.windows[1], window.after
        # Nothing compiles between the two phases.
        window.open(before)
        try:
            self._decode(tokens)
        finally:
            compiled += window.close()
        return compiled

    def _prefill(self) -> torch.Tensor:
        """The first new tokens."""
        run, module, rows, cache = self._passes.prefill, self._model.module, self._rows, self._cache
        watch = Stopwatch(pb.PHASE_PREFILL, self._model.device, 0)
        watch.begin()
        logits, tokens = run(module, rows.prompt_ids, rows.prompt_positions, rows.prompt_mask, cache, rows.last)
        rows.tokens[:, :1].copy_(tokens)
        if self._bucket:
            rewind(cache, rows.padded_to)
        self._span(watch)
        self._made = 1
        self._seen(logits)
        if self._work.observe:
            self._work.observe(logits)
        return tokens

    def _decode(self, tokens: torch.Tensor) -> None:
        run, module, rows, cache = self._passes.decode, self._model.module, self._rows, self._cache
        observe, steps = self._work.observe, self._work.steps
        watch = Stopwatch(pb.PHASE_KV_DECODE, self._model.device, steps)
        try:
            watch.begin()
            for step in range(steps):
                self._stop_if_cancelled()
                rows.feed(step, tokens)
                logits, tokens = run(module, rows.ids, rows.positions, rows.mask, cache)
                rows.tokens[:, step + 1 : step + 2].copy_(tokens)
                watch.step()
                if observe:
                    observe(logits)
        finally:
            self._steps_span(watch)
            self._made += watch.steps
        self._seen(logits)


class UncachedCall(TimedCall):
    """A full pass over everything so far for each new token."""

    def __init__(self, model: Model, passes: Passes, work: Work) -> None:
        super().__init__(model, work)
        self._pass = passes.uncached
        self._rows = GrowingRows(
            work.prompts, padded_to=work.padded_to, steps=work.steps, dtype=model.dtype, device=model.device
        )
        self.tokens = self._rows.tokens
        self.windows = [PhaseWindow(passes.uncached)]

    def _run(self) -> int:
        window = self.windows[0]
        window.open()
        try:
            self._generate()
        finally:
            compiled = window.close()
        return compiled

    def _generate(self) -> None:
        run, module, rows, observe = self._pass, self._model.module, self._rows, self._work.observe
        watch = Stopwatch(pb.PHASE_GENERATE_UNCACHED, self._model.device, self._work.steps)
        tokens = None
        try:
            watch.begin()
            for step in range(self._work.steps):
                self._stop_if_cancelled()
                if tokens is not None:
                    rows.feed(step, tokens)
                logits, tokens = run(module, *rows.view(step))
                rows.tokens[:, step : step + 1].copy_(tokens)
                watch.step()
                if observe:
                    observe(logits)
        finally:
            self._steps_span(watch)
            self._made = watch.steps
        self._seen(logits)
