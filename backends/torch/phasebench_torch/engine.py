"""A model that is loaded, compiled and called as set. All of it runs on one thread: torch keeps much by thread."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

import torch

from . import memory
from . import worker_pb2 as pb
from .calls import Observer, Passes, TimedCall
from .clock import now
from .errors import Cancelled, WorkerError, classify, invalid, unsupported
from .evidence import PHASES, PhaseWindow
from .model import Caches, Model, load
from .passes import Pass, decode, prefill, uncached
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

        reset_compiler()
        self.model: Model = load(folder, settings, part)
        options = settings.compile
        longest = max(longest_sequence or self.model.context, *options.buckets, 1)
        if max(options.buckets, default=0) > self.model.context:
            raise invalid(f"a bucket of {max(options.buckets)} exceeds the model's context of {self.model.context}")
        self._caches = Caches(self.model, longest)
        self.passes = Passes(
            Pass(pb.PHASE_PREFILL, prefill, options if options.prefill else None),
            Pass(pb.PHASE_KV_DECODE, decode, options if options.decode else None),
            Pass(pb.PHASE_GENERATE_UNCACHED, uncached, None),
        )

    def close(self) -> None:
        """Frees the model and all that was compiled for it."""
        del self.model, self.passes, self._caches
        reset_compiler()
        gc.unfreeze()
        gc.collect()
        if self.settings.on_cuda:
            torch.cuda.empty_cache()

    def compile(self, shape: pb.Shape, cancelled: threading.Event) -> pb.CompileReply:
        """Runs a shape until nothing compiles any more, at least twice."""
        reply = pb.CompileReply()
        if not self.settings.compile.any:
            return reply
        windows: list[PhaseWindow] = []
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
            reply.error.CopyFrom(classify(error).wire())
        reply.phases.extend(window.evidence for window in windows if window.evidence.calls)
        complaints = [window.complaint for window in windows if not window.proven]
        if complaints and not reply.HasField("error"):
            reply.error.CopyFrom(pb.Error(kind=pb.Error.FALLBACK, message="; ".join(complaints)))
        return reply

    def _warm(self, call: TimedCall) -> None:
        least = 3 if self.settings.compile.cudagraphs and self.settings.on_cuda else 2
        for done in range(1, _ROUNDS + 1):
            try:
                compiled = call.once()
            finally:
                if done == 1:
                    _first_durations(call)
            if done >= least and not compiled:
                return
        if not self.settings.compile.record_recompiles:
            raise WorkerError(pb.Error.RECOMPILE, f"the shape still compiled when it was run for the {_ROUNDS}th time")

    def call(
        self, request: pb.CallRequest, cancelled: threading.Event, observe: Observer | None = None
    ) -> pb.CallReply:
        """Runs one call. What fails is told in the reply; `observe` is shown the logits of every pass."""
        call: TimedCall | None = None
        failed: WorkerError | None = None
        try:
            with self._running():
                call = self._call(request, cancelled, observe)
                strict = self.settings.compile.any and not self.settings.compile.record_recompiles
                with _no_recompiles() if strict else contextlib.nullcontext():
                    if request.HasField("repeat"):
                        call.repeat(request.repeat.duration_ns, request.repeat.gap_ns, now)
                    else:
                        call.once()
        except Exception as error:
            failed = classify(error)
        return self._answer(call, failed)

    def _answer(self, call: TimedCall | None, failed: WorkerError | None) -> pb.CallReply:
        reply = call.reply if call else pb.CallReply()
        reply.session_usable = failed.session_usable if failed else True
        complaints = []
        if call:
            windows = [window for window in call.windows if window.evidence.calls]
            reply.phases.extend(window.evidence for window in windows)
            reply.memory.CopyFrom(memory.read(self.settings.device, call.kv_bytes))
            attribution, complaints = self._attribution(call, windows)
            reply.attribution.CopyFrom(attribution)
        if failed:
            reply.error.CopyFrom(failed.wire())
        elif complaints:
            reply.error.CopyFrom(pb.Error(kind=pb.Error.FALLBACK, message="; ".join(complaints)[:4000]))
        return reply

    def placement(self) -> pb.Attribution:
        """Where the parameters lie; proves the device, and no phase."""
        attribution = pb.Attribution(requested=self.settings.requested)
        for key, found in self.model.placement().items():
            attribution.evidence[key] = ", ".join(sorted(found))
        attribution.evidence["threads"] = str(torch.get_num_threads())
        attribution.evidence["torch.version"] = str(torch.__version__)
        return attribution

    def _attribution(self, call: TimedCall, windows: list[PhaseWindow]) -> tuple[pb.Attribution, list[str]]:
        """What ran, as far as it is proven, and what speaks against it."""
        attribution = self.placement()
        places = {
            "parameters": self.model.placement()["parameters.device"],
            "cache": call.cache_devices,
            "logits": call.evidence_device,
        }
        complaints = [window.complaint for window in windows if not window.proven]
        for what, found in places.items():
            if found:
                attribution.evidence[f"{what}.device"] = ", ".join(sorted(found))
            if any(not self._asked(device) for device in found):
                complaints.append(f"{what} on {', '.join(sorted(found))}, not on {self.settings.device}")
        for window in windows:
            found_calls = window.evidence
            attribution.evidence[f"{PHASES[window.run.phase]}.compiled"] = (
                f"{found_calls.executions} executions in {found_calls.calls} calls"
            )
        if windows and call.evidence_device and not complaints:
            attribution.actual = self.settings.requested
        return attribution, complaints

    def _asked(self, device: str) -> bool:
        """Whether a tensor's device is the one asked for; `cuda` leaves the number open."""
        return device == self.settings.device or device.split(":")[0] == self.settings.device

    def _call(self, request: pb.CallRequest, cancelled: threading.Event, observe: Observer | None) -> TimedCall:
        """Checks a request and allocates all it needs."""
        prompts = [list(prompt.ids) for prompt in request.prompts]
        self._check(request, prompts)
        cached = request.procedure != pb.UNCACHED
        return TimedCall(
            self.model,
            self.passes,
            cache=self._caches.of(len(prompts)) if cached else None,
            columns=self._caches.columns,
            procedure=request.procedure,
            prompts=prompts,
            padded_to=request.padded_to,
            bucket=self._bucket(request.padded_to) if cached else 0,
            steps=request.steps,
            cancelled=cancelled,
            observe=observe,
        )

    def _bucket(self, padded_to: int) -> int:
        """Columns that a prompt is padded to; 0: there are no buckets."""
        buckets = self.settings.compile.buckets
        if not buckets:
            return 0
        fitting = [bucket for bucket in buckets if bucket >= padded_to]
        if not fitting:
            raise invalid(f"{padded_to} prompt columns exceed the largest bucket, {max(buckets)}")
        return fitting[0]

    def _check(self, request: pb.CallRequest, prompts: list[list[int]]) -> None:
        """Refuses what the model cannot run, before anything is touched."""
        if request.procedure not in (pb.PREFILL, pb.PREFILL_DECODE, pb.UNCACHED):
            raise invalid(f"unknown procedure {request.procedure}")
        if request.procedure == pb.UNCACHED and self.settings.compile.any:
            raise unsupported("generation without a cache is eager only, and compile options are set")
        if not prompts:
            raise invalid("no prompts: at least one row")
        for index, row in enumerate(prompts):
            if not row:
                raise invalid(f"prompt {index} is empty: at least one token")
            if max(row) >= self.model.vocabulary:
                raise invalid(f"prompt {index} has token id {max(row)}: ids are below {self.model.vocabulary}")
        longest = max(map(len, prompts))
        if request.padded_to < longest:
            raise invalid(f"a prompt of {longest} tokens does not fit into rows padded to {request.padded_to}")
        if request.procedure != pb.PREFILL and request.steps < 1:
            raise invalid("steps is 0: at least 1 with this procedure")
        # What the last pass chooses is never fed in.
        fed = {pb.PREFILL: 0, pb.PREFILL_DECODE: request.steps}.get(request.procedure, request.steps - 1)
        if longest + fed > self.model.context:
            raise invalid(
                f"{longest} prompt tokens and {fed} fed back exceed the model's context of {self.model.context} tokens"
            )
        if request.procedure != pb.UNCACHED and request.padded_to + fed > self._caches.columns:
            raise invalid(
                f"{request.padded_to} prompt columns and {fed} fed back exceed the {self._caches.columns} columns of "
                "the static cache, which Load's longest_sequence sizes"
            )

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


def _first_durations(call: TimedCall) -> None:
    """Notes the duration of each phase's first run, compilation included."""
    for window in call.windows:
        for span in call.reply.spans:
            if span.phase == window.run.phase:
                window.evidence.duration_ns = span.end_ns - span.begin_ns
                break
