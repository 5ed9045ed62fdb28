"""A model that is loaded, compiled and called as set. All of it runs on one thread: torch keeps much by thread."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterable, Iterator

import torch

from . import memory
from . import worker_pb2 as pb
from .attribution import of_call
from .calls import CachedCall, Observer, Passes, TimedCall, UncachedCall, Work
from .checks import Bounds, bucket, check_call
from .clock import now
from .errors import MESSAGE_LIMIT, Cancelled, WorkerError, bounded, classify, invalid, unsupported
from .evidence import PhaseWindow
from .model import Caches, Model, load
from .passes import Pass, decode, prefill, start_compiler, uncached
from .probe import Probe
from .rows import KeptRows
from .settings import EngineSettings
from .weights import Folder

_ROUNDS = 4
"""Most runs of a shape until nothing compiles any more."""


class Engine:
    """One loaded model.

    Raises (from the constructor):
        WorkerError: INVALID where folder, settings and `longest_sequence` do not fit each other.
        Cancelled: between two parts of the load.
        Exception: whatever torch raised.
    """

    def __init__(
        self,
        folder: Folder,
        settings: EngineSettings,
        *,
        longest_sequence: int = 0,
        cancelled: threading.Event | None = None,
    ) -> None:
        self.parts: list[pb.Part] = []
        """What the load consisted of."""
        self.settings = settings
        self._cancelled = cancelled or threading.Event()

        def part(name: str, duration_ns: int) -> None:
            self.parts.append(pb.Part(name=name, duration_ns=duration_ns))
            if self._cancelled.is_set():
                raise Cancelled

        # The current device, like the threads, is kept by thread; events are recorded on it.
        if settings.on_cuda and (device := torch.device(settings.device)).index is not None:
            torch.cuda.set_device(device)
        reset_compiler()
        self.model: Model = load(folder, settings, part)
        options = settings.compile
        if options.any:
            begin = now()
            start_compiler(options, self.model.device, self.model.dtype)
            reset_compiler()
            part("start of the compiler", now() - begin)
        longest = max(longest_sequence or self.model.context, *options.buckets, 1)
        if max(options.buckets, default=0) > self.model.context:
            raise invalid(f"a bucket of {max(options.buckets)} exceeds the model's context of {self.model.context}")
        self._caches = Caches(self.model, longest)
        self._rows = KeptRows(longest, self.model.dtype, self.model.device)
        graphs = settings.cuda_graphs
        self.passes = Passes(
            Pass(pb.PHASE_PREFILL, prefill, options if options.prefill else None, cuda_graphs=graphs),
            Pass(pb.PHASE_KV_DECODE, decode, options if options.decode else None, cuda_graphs=graphs),
            Pass(pb.PHASE_GENERATE_UNCACHED, uncached, None),
        )
        # What lives as long as the model need not be looked at by every later collection.
        gc.collect()
        gc.freeze()
        memory.forget_peak()

    def close(self) -> None:
        """Frees the model and all that was compiled for it."""
        del self.model, self.passes, self._caches, self._rows
        reset_compiler()
        gc.unfreeze()
        gc.collect()
        if self.settings.on_cuda:
            torch.cuda.empty_cache()

    def compile(self, shape: pb.Shape, cancelled: threading.Event) -> pb.CompileReply:
        """Runs a shape until nothing compiles any more, at least twice.

        Does nothing where recompiles are to be recorded: what a new shape costs is then in the call that brings it.
        """
        reply = pb.CompileReply()
        if not self.settings.compile.any or self.settings.compile.record_recompiles:
            return reply
        windows: list[PhaseWindow] = []
        failed: WorkerError | None = None
        try:
            # Two decode steps suffice: the third is like the second, whatever the shape's number.
            request = pb.CallRequest(
                procedure=shape.procedure,
                prompts=[pb.Prompt(ids=[0] * shape.prompt_tokens)] * shape.batch,
                padded_to=shape.prompt_tokens,
                steps=min(shape.steps, 2),
            )
            with self._running():
                call = self._call(request, cancelled, None)
                windows = call.windows
                self._warm(call)
        except Exception as error:
            failed = classify(error)
        reply.phases.extend(window.evidence for window in windows if window.evidence.calls)
        complaints = [window.complaint for window in windows if not window.proven]
        if failed:
            reply.error.CopyFrom(_with_reasons(failed, reply.phases))
        elif complaints:
            reply.error.CopyFrom(_fallback(complaints))
        return reply

    def _warm(self, call: TimedCall) -> None:
        least = 3 if self.settings.cuda_graphs else 2
        for done in range(1, _ROUNDS + 1):
            try:
                compiled = call.once()
            finally:
                if done == 1:
                    _first_durations(call)
            if done >= least and not compiled:
                return
        raise WorkerError(pb.Error.RECOMPILE, f"the shape still compiled when it was run for the {_ROUNDS}th time")

    def call(
        self, request: pb.CallRequest, cancelled: threading.Event, observe: Observer | None = None
    ) -> pb.CallReply:
        """Runs one call. What fails is told in the reply; `observe` is shown the logits of every pass."""
        call: TimedCall | None = None
        failed: WorkerError | None = None
        probe = Probe(request.top_logprobs) if request.top_logprobs else None
        try:
            with self._running():
                call = self._call(request, cancelled, probe or observe)
                strict = self.settings.compile.any and not self.settings.compile.record_recompiles
                with _no_recompiles() if strict else contextlib.nullcontext():
                    if request.HasField("repeat"):
                        call.repeat(request.repeat.duration_ns, request.repeat.gap_ns)
                    else:
                        call.once()
        except Exception as error:
            failed = classify(error)
        reply = self._answer(call, failed)
        if probe:
            reply.logprobs.extend(probe.rows())
        return reply

    def tidy(self) -> None:
        """Does ahead what the next call would have to do before its first phase."""
        with self._running():
            self._caches.empty()
            self._rows.restart()
        memory.forget_peak()

    def _answer(self, call: TimedCall | None, failed: WorkerError | None) -> pb.CallReply:
        reply = call.reply if call else pb.CallReply()
        reply.session_usable = failed.session_usable if failed else True
        complaints: list[str] = []
        if call:
            windows = [window for window in call.windows if window.evidence.calls]
            reply.phases.extend(window.evidence for window in windows)
            reply.memory.CopyFrom(memory.read(self.settings.device, call.kv_bytes))
            attribution, complaints = of_call(
                self.model,
                self.settings,
                windows,
                cache_devices=call.cache_devices,
                logits_devices=call.logits_devices,
            )
            reply.attribution.CopyFrom(attribution)
        if failed:
            reply.error.CopyFrom(_with_reasons(failed, reply.phases))
        elif complaints:
            reply.error.CopyFrom(_fallback(complaints))
        return reply

    def _call(self, request: pb.CallRequest, cancelled: threading.Event, observe: Observer | None) -> TimedCall:
        """Checks a request and makes all it needs."""
        if request.procedure == pb.UNCACHED and self.settings.compile.any:
            raise unsupported("generation without a cache is eager only, and compile options are set")
        check_call(request, Bounds(self.model.vocabulary, self.model.context, self._caches.columns))
        prompts = [list(prompt.ids) for prompt in request.prompts]
        steps = 0 if request.procedure == pb.PREFILL else request.steps
        work = Work(prompts, request.padded_to, steps, cancelled, observe)
        if request.procedure == pb.UNCACHED:
            return UncachedCall(self.model, self.passes, work)
        columns = bucket(request.padded_to, self.settings.compile.buckets)
        cache = self._caches.of(len(prompts))
        return CachedCall(self.model, self.passes, work, cache=cache, kept=self._rows, bucket=columns)

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Inference mode, and no garbage collection, whose pauses would fall into the phases."""
        collecting = gc.isenabled()
        gc.disable()
        try:
            with torch.inference_mode():
                yield
        finally:
            if collecting:
                gc.enable()


def reset_compiler() -> None:
    """Forgets everything compiled, and dynamo's counters, so that nothing of an earlier model is counted."""
    from torch._dynamo import utils

    torch._dynamo.reset()
    utils.counters.clear()
    utils.clear_compilation_metrics()


@contextlib.contextmanager
def _no_recompiles() -> Iterator[None]:
    """Makes dynamo raise instead of compiling; a shape that was not made ready is an error."""
    with torch.compiler.set_stance("fail_on_recompile"):
        yield


def _with_reasons(failed: WorkerError, phases: Iterable[pb.PhaseEvidence]) -> pb.Error:
    """The error; a recompile with the guards that failed, which torch's own message may leave out."""
    reasons = [reason for phase in phases for reason in phase.reasons if reason.startswith("recompile")]
    if failed.kind != pb.Error.RECOMPILE or not reasons:
        return failed.wire()
    return pb.Error(kind=failed.kind, message=bounded("; ".join([failed.message, *reasons]), MESSAGE_LIMIT))


def _fallback(complaints: list[str]) -> pb.Error:
    return pb.Error(kind=pb.Error.FALLBACK, message=bounded("; ".join(complaints), MESSAGE_LIMIT))


def _first_durations(call: TimedCall) -> None:
    """Notes the duration of each phase's first run, compilation included."""
    for window in call.windows:
        for span in call.reply.spans:
            if span.phase == window.run.phase:
                window.evidence.duration_ns = span.end_ns - span.begin_ns
                break
