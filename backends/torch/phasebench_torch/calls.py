"""One call: its phases in order, timed and proven. Nothing is allocated, checked or logged inside a timed stretch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from . import worker_pb2 as pb
from .errors import Cancelled
from .evidence import PhaseWindow
from .model import Model, cache_bytes, cache_devices, rewind
from .passes import Answer, Pass
from .rows import CachedRows, GrowingRows
from .stopwatch import Stopwatch

Observer = Callable[[torch.Tensor], None]
"""Is shown the logits [rows, vocabulary] of every pass. Costs time inside the phases; never set by the server."""


@dataclass(frozen=True)
class Passes:
    """The forward passes of a loaded model."""

    prefill: Pass
    decode: Pass
    uncached: Pass


class TimedCall:
    """Runs one procedure on one set of prompts, once or repeatedly, into a reply.

    The reply holds what was done also when a repetition raises: of the first, everything finished; of later ones,
    whole repetitions only.
    """

    def __init__(
        self,
        model: Model,
        passes: Passes,
        *,
        cache: Any,
        columns: int,
        procedure: pb.Procedure,
        prompts: Sequence[Sequence[int]],
        padded_to: int,
        bucket: int,
        steps: int,
        cancelled: threading.Event,
        observe: Observer | None = None,
    ) -> None:
        self.reply = pb.CallReply(prompt_tokens=[len(row) for row in prompts])
        self._model = model
        self._passes = passes
        self._cache = cache
        self._steps = 0 if procedure == pb.PREFILL else steps
        self._procedure = procedure
        self._cancelled = cancelled
        self._observe = observe
        self._computed = bucket or padded_to
        self._first = True
        self.evidence_device: set[str] = set()
        """Devices that logits were seen on."""
        sizes = {"padded_to": padded_to, "steps": self._steps, "dtype": model.dtype, "device": model.device}
        self._rows: CachedRows | None = None
        self._growing: GrowingRows | None = None
        if procedure == pb.UNCACHED:
            self._growing = GrowingRows(prompts, **sizes)
            self.windows = [PhaseWindow(passes.uncached)]
        else:
            self._rows = CachedRows(prompts, computed=self._computed, columns=columns, **sizes)
            self.windows = [PhaseWindow(passes.prefill, bucket)]
            if procedure == pb.PREFILL_DECODE:
                self.windows.append(PhaseWindow(passes.decode))

    def once(self) -> int:
        """One repetition. The number of graphs that were compiled meanwhile.

        Raises:
            Cancelled: between two steps or phases.
            Exception: whatever the engine raised.
        """
        if self._cancelled.is_set():
            raise Cancelled
        kept = len(self.reply.spans)
        try:
            compiled = self._uncached() if self._growing else self._cached()
        except BaseException:
            if not self._first:
                del self.reply.spans[kept:]
            raise
        self._first = False
        return compiled

    def repeat(self, duration_ns: int, gap_ns: int, now: Callable[[], int]) -> None:
        """Repetitions until `duration_ns` have passed and the one under way is done, `gap_ns` apart."""
        begin = now()
        self.once()
        while now() - begin < duration_ns:
            if self._cancelled.wait(gap_ns / 1e9) if gap_ns else self._cancelled.is_set():
                raise Cancelled
            self.once()

    def _cached(self) -> int:
        rows, cache = self._rows, self._cache
        assert rows is not None
        cache.reset()
        rows.restart()
        watch = Stopwatch(pb.PHASE_PREFILL, self._model.device, 0)
        window = self.windows[0]
        window.open()
        try:
            answer = self._prefill(rows, watch)
        finally:
            compiled = window.close()
        self._seen(answer[0])
        self._tokens(rows.tokens[:, :1])
        if self._procedure == pb.PREFILL or not self._steps:
            return compiled
        if self._cancelled.is_set():
            raise Cancelled
        return compiled + self._decode(rows, answer[1])

    def _prefill(self, rows: CachedRows, watch: Stopwatch) -> Answer:
        run, module, cache = self._passes.prefill, self._model.module, self._cache
        watch.begin()
        answer = run(module, rows.prompt_ids, rows.prompt_positions, rows.prompt_mask, cache, rows.last)
        rows.tokens[:, :1].copy_(answer[1])
        if self._computed > rows.padded_to:
            rewind(cache, rows.padded_to)
        self._span(watch)
        return answer

    def _decode(self, rows: CachedRows, tokens: torch.Tensor) -> int:
        run, module, cache, cancelled = self._passes.decode, self._model.module, self._cache, self._cancelled
        observe = self._observe
        watch = Stopwatch(pb.PHASE_KV_DECODE, self._model.device, self._steps)
        window = self.windows[1]
        window.open()
        try:
            watch.begin()
            for step in range(self._steps):
                if cancelled.is_set():
                    raise Cancelled
                rows.feed(step, tokens)
                logits, tokens = run(module, rows.ids, rows.positions, rows.mask, cache)
                rows.tokens[:, step + 1 : step + 2].copy_(tokens)
                watch.step()
                if observe:
                    observe(logits)
        finally:
            self._steps_span(watch)
            compiled = window.close()
            self._tokens(rows.tokens[:, : watch.steps + 1])
        return compiled

    def _uncached(self) -> int:
        rows, run, module = self._growing, self._passes.uncached, self._model.module
        assert rows is not None
        rows.restart()
        watch = Stopwatch(pb.PHASE_GENERATE_UNCACHED, self._model.device, self._steps)
        window = self.windows[0]
        tokens = None
        window.open()
        try:
            watch.begin()
            for step in range(self._steps):
                if self._cancelled.is_set():
                    raise Cancelled
                if tokens is not None:
                    rows.feed(step, tokens)
                logits, tokens = run(module, *rows.view(step))
                rows.tokens[:, step : step + 1].copy_(tokens)
                watch.step()
                if self._observe:
                    self._observe(logits)
        finally:
            self._steps_span(watch)
            window.close()
            self._tokens(rows.tokens[:, : watch.steps])
        self.evidence_device.add(str(logits.device))
        return 0

    def _seen(self, logits: torch.Tensor) -> None:
        self.evidence_device.add(str(logits.device))
        if self._observe:
            self._observe(logits)

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

    def _tokens(self, tokens: torch.Tensor) -> None:
        """Keeps the new tokens of the first repetition."""
        if self._first:
            del self.reply.tokens[:]
            self.reply.tokens.extend(pb.Prompt(ids=row) for row in tokens.tolist())

    @property
    def kv_bytes(self) -> int | None:
        """Bytes of the KV cache in use. `None`: the procedure has none."""
        return None if self._cache is None else cache_bytes(self._cache)

    @property
    def cache_devices(self) -> set[str]:
        """Devices of the KV cache in use; empty if there is none."""
        return set() if self._cache is None else cache_devices(self._cache)
