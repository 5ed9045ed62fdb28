"""What dynamo and the compiler did during a phase, and what that proves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch._dynamo import utils as dynamo

from . import worker_pb2 as pb
from .abilities import recompiled
from .errors import REASON_LIMIT, bounded
from .passes import Pass

REASONS_LIMIT = 8
"""Most reasons that one phase tells."""


@dataclass
class _Counters:
    """Dynamo's process-wide counters at one moment."""

    frames: int
    graphs: int
    compiler: _Compiler | None
    """`None`: was not asked, since nothing is to be compiled."""

    @classmethod
    def read(cls, *, compiler: bool) -> _Counters:
        counters = dynamo.counters
        return cls(
            frames=counters["frames"]["total"],
            graphs=counters["stats"]["unique_graphs"],
            compiler=_Compiler.read() if compiler else None,
        )


@dataclass
class _Compiler:
    """What only a phase that is to be compiled is asked."""

    breaks: dict[str, int]
    guard_failures: int
    cache_hits: int
    cache_misses: int
    graphs_skipped: int
    last: Any
    """The compilation that ended last; `None`: there was none."""

    @classmethod
    def read(cls) -> _Compiler:
        counters = dynamo.counters
        compilations = dynamo.get_compilation_metrics()
        return cls(
            breaks=dict(counters["graph_break"]),
            guard_failures=sum(map(len, dynamo.guard_failures.values())),
            # A hit in the cache above inductor's is counted in inductor's too.
            cache_hits=counters["inductor"]["fxgraph_cache_hit"],
            cache_misses=counters["inductor"]["fxgraph_cache_miss"],
            graphs_skipped=counters["inductor"]["cudagraph_skips"],
            last=compilations[-1] if compilations else None,
        )


@dataclass
class PhaseWindow:
    """Evidence of one phase, gathered over all its stretches in one Compile or Call.

    `open` and `close` stand outside the timed stretch, on the thread that runs it; nothing else may compile between.
    """

    run: Pass
    bucket: int = 0
    """Columns computed where prompts are padded to a bucket. 0: none."""
    evidence: pb.PhaseEvidence = field(init=False)
    after: _Counters | None = None
    """Dynamo's counters when the last stretch ended."""
    _frames: int = 0
    _before: _Counters | None = None
    _calls: int = 0
    _executions: int = 0

    def __post_init__(self) -> None:
        """Names the phase in its evidence."""
        self.evidence = pb.PhaseEvidence(phase=self.run.phase, requested=self.run.requested, bucket=self.bucket)

    def open(self, counters: _Counters | None = None) -> None:
        """Begins a stretch; `counters` are dynamo's if they were read since anything was compiled."""
        compiler = self.run.options is not None
        if counters is None or (compiler and counters.compiler is None):
            counters = _Counters.read(compiler=compiler)
        self._before = counters
        self._calls, self._executions = self.run.calls, self.run.executions

    def close(self) -> int:
        """Ends a stretch and judges all so far. The number of graphs compiled in it."""
        before = self._before
        if before is None:
            return 0
        after = _Counters.read(compiler=self.run.options is not None)
        self._before, self.after = None, after
        found = self.evidence
        found.calls += self.run.calls - self._calls
        found.executions += self.run.executions - self._executions
        self._frames += after.frames - before.frames
        graphs = after.graphs - before.graphs
        found.unique_graphs += graphs
        if before.compiler and after.compiler:
            self._compiled(before.compiler, after.compiler)
        if self.proven:
            found.actual = self.run.requested
        else:
            found.ClearField("actual")
        return graphs

    @property
    def proven(self) -> bool:
        """Whether every call so far ran as requested."""
        found = self.evidence
        if self.run.options is None:
            return found.executions == 0 and self._frames == 0 and found.unique_graphs == 0
        skipped = self.run.cuda_graphs and self.run.graphs_skipped > 0
        return found.executions == found.calls and self.run.broken == 0 and not skipped

    @property
    def complaint(self) -> str:
        """What kept the calls from being proven, in words; empty where they are."""
        if self.proven:
            return ""
        found, name = self.evidence, PHASES[self.run.phase]
        if self.run.options is None:
            return f"{name}: eager was asked for, and {found.executions} executions of compiled code were seen"
        words = f"{name}: {min(found.executions, found.calls)} of {found.calls} calls ran compiled"
        if self.run.broken:
            words += f", {self.run.broken} graph breaks"
        if self.run.graphs_skipped:
            words += f", {self.run.graphs_skipped} CUDA graphs given up"
        return "; ".join([words, *found.reasons])

    def _compiled(self, before: _Compiler, after: _Compiler) -> None:
        """Takes in what the compiler did."""
        found = self.evidence
        found.guard_failures += after.guard_failures - before.guard_failures
        found.cache_hits += after.cache_hits - before.cache_hits
        found.cache_misses += after.cache_misses - before.cache_misses
        self.run.graphs_skipped += after.graphs_skipped - before.graphs_skipped
        for reason, count in after.breaks.items():
            more = count - before.breaks.get(reason, 0)
            if more > 0:
                found.graph_breaks += more
                self.run.broken += more
                self._tell(f"graph break: {reason}")
        self._compilations(before.last)

    def _compilations(self, last: Any) -> None:
        """Takes in the compilations that ended after `last`."""
        fresh = []
        for metrics in reversed(dynamo.get_compilation_metrics()):
            if metrics is last:
                break
            fresh.append(metrics)
        for metrics in reversed(fresh):
            self.evidence.compile_ns += (metrics.duration_us or 0) * 1000
            if recompiled(metrics):
                self.evidence.recompiles += 1
            if reason := getattr(metrics, "recompile_reason", None):
                self._tell(f"recompile: {reason}")
            if metrics.fail_reason:
                self._tell(f"{metrics.fail_type}: {metrics.fail_reason}")
            if reason := getattr(metrics, "cudagraph_skip_reason", None):
                self._tell(f"no CUDA graph: {reason}")

    def _tell(self, reason: str) -> None:
        if len(self.evidence.reasons) < REASONS_LIMIT:
            self.evidence.reasons.append(bounded(reason, REASON_LIMIT))


PHASES = {
    pb.PHASE_PREFILL: "prefill",
    pb.PHASE_KV_DECODE: "kv_decode",
    pb.PHASE_GENERATE_UNCACHED: "generate_uncached",
}
"""Names of the phases."""
