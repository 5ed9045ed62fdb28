"""A worker of phasebench's protocol, all but the engine: subclass `Engine`, pass it to `serve`.

docs/worker-protocol.md has the rules. Needs grpcio, protobuf and numpy, and beside this file what
`python3 -m grpc_tools.protoc -I. --python_out=. --grpc_python_out=. worker.proto` makes.
"""

from __future__ import annotations

import argparse
import hmac
import os
import signal
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import worker_pb2 as pb
import worker_pb2_grpc as rpc


class Refused(Exception):
    """Raise it where something cannot be done: `Refused(pb.Error.UNSUPPORTED, "why, and what is allowed")`."""

    def __init__(self, kind: int, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.kind, self.message, self.fix = kind, message[:4000], fix


class Engine:
    """What a worker measures. One thread makes all of these calls, one after the other."""

    name, version = "My engine", "0.1"
    devices, dtypes, options = ("cpu",), ("f32",), ()
    boundary = {  # What each phase's time includes and leaves out, in words.
        "prefill": "one pass over the prompts, to the arg-max on the host; left out: padding, messages",
        "kv_decode": "for each step one pass over one token a row, to the arg-max on the host; left out: messages",
    }
    vocabulary = context = 0  # `load` sets them.

    def load(self, path: str, settings: pb.Settings) -> None:
        """Loads the model in the folder `path` until it can answer."""
        raise NotImplementedError

    def prefill(self, ids: np.ndarray, real: np.ndarray) -> np.ndarray:
        """Logits [rows, vocabulary], on the host, after prompts `ids` [rows, columns]; `real` [rows, columns] is False
        where a row is padded on the left.
        """
        raise NotImplementedError

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """The same after one more token of each row, on the cache that `prefill` began."""
        raise NotImplementedError

    def unload(self) -> None:
        """Frees the model: what was loaded, and what calls have left of it."""
        raise NotImplementedError

    def placed(self) -> tuple[str | None, dict[str, str]]:
        """Where it ran, and what proves that: looked up, not repeated from the settings. `(None, {})`: nothing does."""
        return None, {}


BOOT_ID, OFFSETS = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/timens_offsets")
LISTENING, GREETED, PREPARED, LOADED = range(4)
STATES = {"Describe": (GREETED, PREPARED, LOADED), "Prepare": (GREETED, PREPARED), "Load": (PREPARED,)}


class Worker(rpc.WorkerServicer):
    """The protocol: order, locks, clock and replies."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.state = engine, LISTENING
        self.stopping, self.stop = os.pipe()  # A byte in it ends the worker.
        os.set_blocking(self.stop, False)
        self.lock, self.in_flight = threading.Lock(), None
        self.thread = futures.ThreadPoolExecutor(1)

    def Hello(self, request, context):
        if request.protocol_version < 1:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "this worker speaks version 1 of the protocol")
        self.state = max(self.state, GREETED)
        return pb.HelloReply(
            protocol_version=1, worker=Path(__file__).parent.name, worker_version=self.engine.version, pid=os.getpid(),
            capabilities=pb.Capabilities(procedures=[pb.PREFILL, pb.PREFILL_DECODE], step_times=True, logprobs=True),
            clock=clock(),
        )  # fmt: skip

    def ReadClock(self, request, context):
        return pb.ReadClockReply(now_ns=time.monotonic_ns())

    def Describe(self, request, context):
        def describe(_):
            self.check(request.settings)
            return pb.DescribeReply(
                engine=self.engine.name, engine_version=self.engine.version, boundary=self.engine.boundary
            )

        return self.run(context, "Describe", describe, lambda e: pb.DescribeReply(error=wire(e), fix=e.fix))

    def Prepare(self, request, context):
        def prepare(_):
            self.check(request.settings)
            if not Path(request.path, "config.json").is_file():
                raise Refused(pb.Error.INVALID, f"{request.path} holds no config.json that this worker can see")
            self.asked, self.state = request, PREPARED
            return pb.PrepareReply()

        return self.run(context, "Prepare", prepare, lambda e: pb.PrepareReply(error=wire(e)))

    def Load(self, request, context):
        def load(cancelled):
            self.engine.load(self.asked.path, self.asked.settings)
            if cancelled.is_set():
                self.engine.unload()
                raise Refused(pb.Error.CANCELLED, "cancelled")
            self.state = LOADED
            return pb.LoadReply(attribution=pb.Attribution(requested=self.asked.settings.device))

        return self.run(context, "Load", load, lambda e: pb.LoadReply(error=wire(e)))

    def Compile(self, request, context):
        return self.run(context, "Compile", lambda _: pb.CompileReply(), lambda e: pb.CompileReply(error=wire(e)))

    def Call(self, request, context):
        def failed(error):
            return pb.CallReply(error=wire(error), session_usable=True)

        return self.run(context, "Call", lambda cancelled: self.call(request, cancelled), failed, request.call_id)

    def Cancel(self, request, context):
        with self.lock:
            found = self.in_flight is not None and request.call_id in (0, self.in_flight[0])
            if found:
                self.in_flight[1].set()
        return pb.CancelReply(in_flight=found)

    def Unload(self, request, context):
        def unload(_):
            self.engine.unload()
            self.state = PREPARED
            return pb.UnloadReply()

        return self.run(context, "Unload", unload, lambda e: pb.UnloadReply(error=wire(e)))

    def Shutdown(self, request, context):
        context.add_callback(lambda: os.write(self.stop, b"\0"))
        return pb.ShutdownReply()

    def check(self, settings):
        for what, value, known in (
            ("device", settings.device, self.engine.devices),
            ("dtype", settings.dtype, self.engine.dtypes),
            *(("option", key, self.engine.options) for key in settings.options),
        ):
            if value not in known:
                raise Refused(pb.Error.INVALID, f"unknown {what} `{value}`, known: {', '.join(known) or 'none'}")

    def call(self, request, cancelled):
        rows, steps = [list(row.ids) for row in request.prompts], request.steps
        decode = request.procedure == pb.PREFILL_DECODE
        longest = max(map(len, rows), default=0)
        if not decode and request.procedure != pb.PREFILL or decode and steps < 1 or request.HasField("repeat"):
            raise Refused(pb.Error.INVALID, "known are PREFILL, and PREFILL_DECODE of at least 1 step, once")
        if not min(map(len, rows), default=0) or request.padded_to < longest:
            given = f"{len(rows)} rows of up to {longest} tokens, padded to {request.padded_to}"
            raise Refused(pb.Error.INVALID, f"{given}: rows must be there, not empty and not longer than that")
        if request.padded_to + steps > self.engine.context or max(map(max, rows)) >= self.engine.vocabulary:
            known = f"{self.engine.context} positions and {self.engine.vocabulary} tokens"
            raise Refused(pb.Error.INVALID, f"positions or token ids exceed the model's context or vocabulary: {known}")
        ids = np.array([[0] * (request.padded_to - len(row)) + row for row in rows])
        real = np.array([[n >= request.padded_to - len(row) for n in range(request.padded_to)] for row in rows])
        reply = pb.CallReply(session_usable=True, prompt_tokens=map(len, rows))
        tokens, seen = [], []
        begin = time.monotonic_ns()
        logits = self.engine.prefill(ids, real)
        tokens.append(logits.argmax(-1))
        ends = [time.monotonic_ns()]
        seen.append(logits)
        while decode and len(tokens) <= steps and not cancelled.is_set():
            logits = self.engine.step(tokens[-1])
            tokens.append(logits.argmax(-1))
            ends.append(time.monotonic_ns())
            if request.top_logprobs:
                seen.append(logits)
        reply.spans.add(phase=pb.PHASE_PREFILL, begin_ns=begin, end_ns=ends[0])
        if len(tokens) > 1:
            reply.spans.add(phase=pb.PHASE_KV_DECODE, begin_ns=ends[0], end_ns=ends[-1])
        reply.steps_timed, reply.step_ends_ns[:] = len(tokens) - 1, ends[1:]
        reply.tokens.extend(pb.Prompt(ids=map(int, row)) for row in zip(*tokens, strict=True))
        if cancelled.is_set():
            reply.error.CopyFrom(pb.Error(kind=pb.Error.CANCELLED, message="cancelled"))
        if request.top_logprobs:
            reply.logprobs.extend(most_probable(seen, request.top_logprobs))
        actual, evidence = self.engine.placed()
        reply.attribution.CopyFrom(
            pb.Attribution(requested=self.asked.settings.device, actual=actual, evidence=evidence)
        )
        return reply

    def run(self, context, name, work, failed, call_id=0):
        """One request at a time, where the order has it; `failed` makes a reply of what was refused."""
        cancelled = threading.Event()
        with self.lock:
            if self.in_flight or self.state not in STATES.get(name, (LOADED,)):
                why = "another request is in flight" if self.in_flight else f"{name} may not come now"
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, why)
            self.in_flight = (call_id, cancelled)
        context.add_callback(cancelled.set)  # A client that is gone wants no answer.
        try:
            return self.thread.submit(work, cancelled).result()
        except Refused as error:
            return failed(error)
        except MemoryError as error:
            return failed(Refused(pb.Error.OOM, repr(error)))
        except Exception as error:  # noqa: BLE001 - whatever the engine raises is its answer
            return failed(Refused(pb.Error.INTERNAL, repr(error)))
        finally:
            self.in_flight = None


def clock():
    """Which clock `time.monotonic_ns` reads: the kernel's, moved by the time namespace, where there is a `/proc`."""
    if not BOOT_ID.exists():
        return pb.ClockSource(kind=pb.ClockSource.OTHER)
    lines = OFFSETS.read_text().splitlines() if OFFSETS.exists() else []
    moved = [line.split()[1:] for line in lines if line.startswith("monotonic")]
    offset = sum(int(seconds) * 1_000_000_000 + int(nanoseconds) for seconds, nanoseconds in moved)
    boot_id = BOOT_ID.read_text().strip()
    return pb.ClockSource(kind=pb.ClockSource.MONOTONIC, boot_id=boot_id, namespace_offset_ns=offset)


def wire(error):
    return pb.Error(kind=error.kind, message=error.message)


def most_probable(seen, top):
    """For each row, at each place, the `top` most probable tokens with their natural log-probabilities."""
    logits = np.stack(seen, 1).astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    values = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    best = np.argsort(-values, -1, kind="stable")[..., :top]
    for ids, row in zip(best, np.take_along_axis(values, best, -1), strict=True):
        places = zip(ids.tolist(), row.tolist(), strict=True)
        yield pb.RowLogprobs(tokens=[pb.TokenLogprobs(ids=place, logprobs=told) for place, told in places])


class Token(grpc.ServerInterceptor):
    """Lets in only messages that carry the token."""

    def __init__(self, token):
        self.token = token.encode()

    def intercept_service(self, continuation, details):
        given = [value for key, value in details.invocation_metadata if key == "x-phasebench-token"]
        if len(given) == 1 and hmac.compare_digest(str(given[0]).encode(), self.token):
            return continuation(details)
        refuse = lambda _, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token, or another")  # noqa: E731
        return grpc.unary_unary_rpc_method_handler(refuse)


def serve(engine: Engine) -> None:
    """Listens as the command line says, and serves until it is told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True, metavar="unix:/PATH|tcp:127.0.0.1:PORT")
    parser.add_argument("--exit-on-stdin-close", action="store_true")
    asked, token = parser.parse_args(), os.environ.get("PHASEBENCH_WORKER_TOKEN")
    kind, _, place = asked.listen.partition(":")
    if kind == "tcp" and not (token and place.startswith("127.0.0.1:")):
        parser.error("a port is one of 127.0.0.1, and needs a token in PHASEBENCH_WORKER_TOKEN")
    size = 64 << 20
    options = [("grpc.max_receive_message_length", size), ("grpc.max_send_message_length", size)]
    server = grpc.server(
        futures.ThreadPoolExecutor(8),
        interceptors=[Token(token)] if token else [],
        options=[*options, ("grpc.so_reuseport", 0), ("grpc.http2.bdp_probe", 0)],
    )
    worker = Worker(engine)
    rpc.add_WorkerServicer_to_server(worker, server)
    before = os.umask(0o177)  # The socket is its user's alone; what the engine makes is as its user wants it.
    port = server.add_insecure_port(asked.listen if kind == "unix" else place)
    os.umask(before)
    server.start()
    ready = asked.listen if kind == "unix" else f"tcp:127.0.0.1:{port}"
    os.write(1, f"phasebench-worker ready {ready}\n".encode())
    os.dup2(2, 1)  # Nothing else goes to standard output.
    # A signal that another thread gets does not wake this one out of a lock; a byte in the pipe does.
    signal.set_wakeup_fd(worker.stop, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    if asked.exit_on_stdin_close:

        def wait_for_end():
            while os.read(0, 4096):
                pass
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=wait_for_end, daemon=True).start()
    os.read(worker.stopping, 1)
    server.stop(1).wait(2)
    os._exit(0)  # Whatever the engine still computes.
