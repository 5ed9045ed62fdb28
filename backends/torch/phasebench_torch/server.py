"""The protocol's service. Requests to the engine run on one thread of their own; the rest is answered meanwhile."""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import threading
from collections.abc import Callable
from concurrent import futures
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from . import __version__, clock, memory
from . import worker_pb2 as pb
from .errors import OutOfOrder, WorkerError, classify
from .session import ENGINE_REQUESTS, Operation, Session, State
from .settings import EngineSettings, parse
from .weights import Folder, inspect
from .worker_pb2_grpc import WorkerServicer

if TYPE_CHECKING:
    from .engine import Engine

PROTOCOL_VERSION = 1
"""The one version of the protocol that this worker speaks."""

NAME = "phasebench-torch"
"""Name of this worker."""

Reply = TypeVar("Reply")
_LOG = logging.getLogger(__name__)


class TorchWorker(WorkerServicer):  # type: ignore[misc]
    """Serves one session after the other."""

    def __init__(self) -> None:
        self.session = Session()
        self.stopping = threading.Event()
        """Set when the client asked the worker to exit."""
        # One thread for all engine work: thread settings, inference mode and CUDA's device are kept by thread.
        self._thread = futures.ThreadPoolExecutor(1, thread_name_prefix="engine", initializer=self._note_thread)
        self._thread_id = 0
        # Held from when a request is sent to the engine's thread until it was served there.
        self._claim = threading.Lock()
        self._prepared: tuple[EngineSettings, Folder] | None = None
        self._engine: Engine | None = None

    def Hello(self, request: pb.HelloRequest, context: grpc.ServicerContext) -> pb.HelloReply:
        """Versions, capabilities and clock."""
        if request.protocol_version < PROTOCOL_VERSION:
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"this worker speaks version {PROTOCOL_VERSION} of the protocol, the client up to "
                f"{request.protocol_version}",
            )
        self.session.greet()
        _LOG.info("client %s", request.client)
        return pb.HelloReply(
            protocol_version=PROTOCOL_VERSION,
            worker=NAME,
            worker_version=__version__,
            pid=os.getpid(),
            capabilities=pb.Capabilities(
                procedures=[pb.PREFILL, pb.PREFILL_DECODE, pb.UNCACHED],
                step_times=True,
                repeat=True,
                compiles=True,
                logprobs=True,
            ),
            clock=clock.source(),
        )

    def ReadClock(self, request: pb.ReadClockRequest, context: grpc.ServicerContext) -> pb.ReadClockReply:
        """The clock, now."""
        return pb.ReadClockReply(now_ns=clock.now())

    def Describe(self, request: pb.DescribeRequest, context: grpc.ServicerContext) -> pb.DescribeReply:
        """What torch is here. Imports it the first time."""

        def describe(_: Operation) -> pb.DescribeReply:
            settings = parse(request.settings)
            begin = clock.now()
            from . import facts

            _LOG.info("torch imported in %.3f s", (clock.now() - begin) / 1e9)
            facts.apply_threads(settings)
            try:
                return facts.describe(settings)
            finally:
                if self._engine is not None:
                    # What is loaded runs on as it was set.
                    facts.apply_threads(self._engine.settings)

        return self._run(context, "Describe", describe, _describe_error)

    def Prepare(self, request: pb.PrepareRequest, context: grpc.ServicerContext) -> pb.PrepareReply:
        """Looks at a model folder."""

        def prepare(_: Operation) -> pb.PrepareReply:
            from . import facts

            settings = parse(request.settings)
            facts.check(settings)
            folder = inspect(request.path)
            self._prepared = (settings, folder)
            self.session.reach(State.PREPARED)
            _LOG.info("prepared %s, weights %s", request.path, request.weights_id)
            return pb.PrepareReply(parameters=folder.parameters, bytes=folder.bytes(settings.dtype))

        return self._run(context, "Prepare", prepare, lambda error: pb.PrepareReply(error=error.wire()))

    def Load(self, request: pb.LoadRequest, context: grpc.ServicerContext) -> pb.LoadReply:
        """Loads the prepared model."""

        def load(operation: Operation) -> pb.LoadReply:
            from . import facts
            from .attribution import of_load
            from .engine import Engine

            if self._prepared is None:
                raise OutOfOrder("no model is prepared")
            settings, folder = self._prepared
            facts.apply_threads(settings)
            before = memory.read(settings.device)
            engine = Engine(folder, settings, longest_sequence=request.longest_sequence, cancelled=operation.cancelled)
            self._engine = engine
            self.session.reach(State.LOADED)
            return pb.LoadReply(
                parts=engine.parts,
                attribution=of_load(engine.model, settings),
                before=before,
                after=memory.read(settings.device),
            )

        return self._run(context, "Load", load, lambda error: pb.LoadReply(error=error.wire()))

    def Compile(self, request: pb.CompileRequest, context: grpc.ServicerContext) -> pb.CompileReply:
        """Makes a shape ready."""

        def compile_shape(operation: Operation) -> pb.CompileReply:
            return self._loaded().compile(request.shape, operation.cancelled)

        return self._run(context, "Compile", compile_shape, lambda error: pb.CompileReply(error=error.wire()))

    def Call(self, request: pb.CallRequest, context: grpc.ServicerContext) -> pb.CallReply:
        """Runs a call."""

        def call(operation: Operation) -> pb.CallReply:
            return self._loaded().call(request, operation.cancelled)

        def failed(error: WorkerError) -> pb.CallReply:
            return pb.CallReply(error=error.wire(), session_usable=error.session_usable)

        # Once the reply is on its way; the engine's thread does one thing after the other.
        context.add_callback(self._tidy)
        return self._run(context, "Call", call, failed, request.call_id)

    def _tidy(self) -> None:
        def tidy() -> None:
            if self._engine is not None:
                self._engine.tidy()

        # The thread may have ended with the worker.
        with contextlib.suppress(RuntimeError):
            self._thread.submit(tidy)

    def Cancel(self, request: pb.CancelRequest, context: grpc.ServicerContext) -> pb.CancelReply:
        """Asks what is in flight to stop."""
        return pb.CancelReply(in_flight=self.session.cancel(request.call_id))

    def Unload(self, request: pb.UnloadRequest, context: grpc.ServicerContext) -> pb.UnloadReply:
        """Frees the model."""

        def unload(_: Operation) -> pb.UnloadReply:
            engine = self._loaded()
            self._engine = None
            self.session.reach(State.PREPARED)
            engine.close()
            return pb.UnloadReply()

        return self._run(context, "Unload", unload, lambda error: pb.UnloadReply(error=error.wire()))

    def Shutdown(self, request: pb.ShutdownRequest, context: grpc.ServicerContext) -> pb.ShutdownReply:
        """Asks the worker to exit, once this is answered."""
        self.session.cancel()
        context.add_callback(self.stopping.set)
        return pb.ShutdownReply()

    def pool(self, method: str) -> futures.ThreadPoolExecutor | None:
        """Where a request is best served: the engine's own thread, if it is for the engine and that one is free.

        A request that finds it taken is served by another thread, which refuses it or hands it on.
        """
        if method.rpartition("/")[2] not in ENGINE_REQUESTS or self.session.busy:
            return None
        return self._thread if self._claim.acquire(blocking=False) else None

    def _note_thread(self) -> None:
        self._thread_id = threading.get_ident()

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise OutOfOrder("no model is loaded")
        return self._engine

    def _run(
        self,
        context: grpc.ServicerContext,
        name: str,
        work: Callable[[Operation], Reply],
        failed: Callable[[WorkerError], Reply],
        call_id: int = 0,
    ) -> Reply:
        """Runs one request's work on the engine's thread; what it raises becomes the reply that `failed` makes."""
        try:
            with self.session.operation(name, call_id) as operation:
                # A client that is gone wants no answer.
                if not context.add_callback(operation.cancelled.set):
                    operation.cancelled.set()
                if self._on_engine_thread():
                    return _guarded(work, failed, operation, name)
                return self._thread.submit(_guarded, work, failed, operation, name).result()
        except OutOfOrder as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            raise
        finally:
            if self._on_engine_thread() and self._claim.locked():
                self._claim.release()

    def _on_engine_thread(self) -> bool:
        return threading.get_ident() == self._thread_id


def _guarded(
    work: Callable[[Operation], Reply], failed: Callable[[WorkerError], Reply], operation: Operation, name: str
) -> Reply:
    try:
        return work(operation)
    except Exception as error:
        found = classify(error)
        _LOG.warning("%s: %s", name, found.message, exc_info=found is not error)
        return failed(found)


def _describe_error(error: WorkerError) -> pb.DescribeReply:
    return pb.DescribeReply(error=error.wire(), fix=error.fix)


class Guard(grpc.ServerInterceptor):  # type: ignore[misc]
    """Lets in only requests that carry the token, and knows when the last one was served.

    `pool` says on which threads a method is served; `None`: on the server's. Handing a request from one thread to
    another and its reply back takes as long as all else that is done for it.
    """

    def __init__(
        self, token: str | None, pool: Callable[[str], futures.ThreadPoolExecutor | None] = lambda _: None
    ) -> None:
        self._pool = pool
        self._token = token.encode() if token else None
        self._lock = threading.Lock()
        self._running = 0
        self._last_ns = clock.now()

    def idle_ns(self) -> int:
        """Nanoseconds since the last request ended; 0 while one runs."""
        with self._lock:
            return 0 if self._running else clock.now() - self._last_ns

    def intercept_service(self, continuation: Callable[[Any], Any], details: grpc.HandlerCallDetails) -> Any:
        """Hands a request on, or refuses it."""
        if self._token is not None and not self._admits(details):
            return grpc.unary_unary_rpc_method_handler(_refuse)
        handler = continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler
        serve = handler.unary_unary

        def counted(request: Any, context: grpc.ServicerContext) -> Any:
            with self._lock:
                self._running += 1
            try:
                return serve(request, context)
            finally:
                with self._lock:
                    self._running -= 1
                    self._last_ns = clock.now()

        # An attribute that grpc looks for; a version that does not serves it on its own threads.
        counted.experimental_thread_pool = self._pool(details.method)  # type: ignore[attr-defined]
        return grpc.unary_unary_rpc_method_handler(
            counted, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
        )

    def _admits(self, details: grpc.HandlerCallDetails) -> bool:
        given = [value for key, value in details.invocation_metadata if key == "x-phasebench-token"]
        return len(given) == 1 and hmac.compare_digest(str(given[0]).encode(), self._token or b"")


def _refuse(request: bytes, context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "the metadata x-phasebench-token is missing or wrong")
