"""Engines on the repository's tiny models, and a worker in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
import torch

from phasebench_torch import worker_pb2 as pb
from phasebench_torch.engine import Engine
from phasebench_torch.settings import parse
from phasebench_torch.weights import inspect
from phasebench_torch.worker_pb2_grpc import WorkerStub

MODELS = Path(__file__).resolve().parents[3] / "tests" / "data" / "same-weights"
FAMILIES = ("gpt2", "llama", "phi", "qwen2")
SECONDS = 120


def folder(family: str) -> Path:
    return MODELS / f"tiny-{family}"


def settings(**options: str) -> pb.Settings:
    """Settings for the CPU; `fullgraph="false"` is the option `compile.fullgraph`."""
    named = {f"compile.{key}": value for key, value in options.items()}
    return pb.Settings(device="cpu", dtype="f32", threads=1, options=named)


def load(family: str = "gpt2", longest: int = 64, **options: str) -> Engine:
    torch.set_num_threads(1)
    return Engine(inspect(str(folder(family))), parse(settings(**options)), longest_sequence=longest)


def call(
    *prompts: list[int],
    steps: int = 0,
    padded_to: int = 0,
    procedure: pb.Procedure | None = None,
    repeat: pb.Repeat | None = None,
) -> pb.CallRequest:
    """A prefill, or with steps a prefill and decode steps."""
    if procedure is None:
        procedure = pb.PREFILL_DECODE if steps else pb.PREFILL
    return pb.CallRequest(
        call_id=1,
        procedure=procedure,
        prompts=[pb.Prompt(ids=row) for row in prompts],
        padded_to=padded_to or max(map(len, prompts), default=0),
        steps=steps,
        repeat=repeat,
    )


def run(engine: Engine, request: pb.CallRequest) -> tuple[pb.CallReply, list[torch.Tensor]]:
    """The reply, and the log-probabilities [rows, vocabulary] of every pass."""
    seen: list[torch.Tensor] = []
    reply = engine.call(request, threading.Event(), lambda logits: seen.append(logits.log_softmax(-1).clone()))
    return reply, seen


def warm(engine: Engine, batch: int, prompt_tokens: int, steps: int = 2) -> pb.CompileReply:
    shape = pb.Shape(
        procedure=pb.PREFILL_DECODE if steps else pb.PREFILL, batch=batch, prompt_tokens=prompt_tokens, steps=steps
    )
    return engine.compile(shape, threading.Event())


class Worker:
    """A worker's process and a client to it."""

    def __init__(self, listen: str, *arguments: str, **environment: str) -> None:
        package = str(Path(__file__).resolve().parents[1])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "phasebench_torch", "--listen", listen, "--exit-on-stdin-close", *arguments],
            env={**os.environ, "PYTHONPATH": package, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        # A pipe nobody reads would block the worker.
        self._log: list[bytes] = []
        assert self.process.stderr is not None
        self._reader = threading.Thread(target=self._log.extend, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline().decode().rstrip("\n")
        address = self.ready.removeprefix("phasebench-worker ready ").removeprefix("tcp:")
        self.channel = grpc.insecure_channel(address)
        self.stub = WorkerStub(self.channel)  # type: ignore[no-untyped-call]

    @property
    def log(self) -> str:
        """Standard error; after the process has ended."""
        self._reader.join(SECONDS)
        return b"".join(self._log).decode(errors="replace")

    def hello(self) -> pb.HelloReply:
        reply: pb.HelloReply = self.stub.Hello(pb.HelloRequest(protocol_version=1, client="test"))
        return reply

    def load(self, wanted: pb.Settings, family: str = "gpt2") -> None:
        self.hello()
        for reply in (
            self.stub.Describe(pb.DescribeRequest(settings=wanted)),
            self.stub.Prepare(pb.PrepareRequest(settings=wanted, path=str(folder(family)))),
            self.stub.Load(pb.LoadRequest(longest_sequence=64)),
        ):
            assert not reply.HasField("error"), reply.error

    def close(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait(SECONDS)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts workers on a socket in the test's folder; the test's end ends them."""
    workers: list[Worker] = []

    def start(*arguments: str, listen: str = "", **environment: str) -> Worker:
        workers.append(Worker(listen or f"unix:{tmp_path}/{len(workers)}.sock", *arguments, **environment))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()
