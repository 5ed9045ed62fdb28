"""A worker in a process of its own, over a Unix socket and over TCP."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from phasebench_torch import worker_pb2 as pb

from .conftest import SECONDS, Worker, call, folder, settings

TOKEN = {"PHASEBENCH_WORKER_TOKEN": "correct horse"}
Start = Callable[..., Worker]


def refusal(request: Callable[[], object]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        request()
    return caught.value


def test_a_session_from_hello_to_shutdown(start: Start, tmp_path: Path) -> None:
    worker = start()
    path = tmp_path / "0.sock"
    assert worker.ready == f"phasebench-worker ready unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    hello = worker.hello()
    assert (hello.worker, hello.protocol_version, hello.pid) == ("phasebench-torch", 1, worker.process.pid)
    before = worker.stub.ReadClock(pb.ReadClockRequest()).now_ns

    described = worker.stub.Describe(pb.DescribeRequest(settings=settings(decode="true")))
    assert not described.HasField("error"), described
    assert set(described.boundary) == {"prefill", "kv_decode", "generate_uncached"}
    assert described.facts["threads"] == "1"
    assert described.facts["compile"] == "decode"
    assert described.facts["cxx.version"]

    worker.load(settings())
    reply = worker.stub.Call(call([1, 2], [3], steps=3, padded_to=4))
    assert not reply.HasField("error"), reply.error
    assert reply.session_usable
    assert before < reply.spans[0].begin_ns < worker.stub.ReadClock(pb.ReadClockRequest()).now_ns
    assert reply.attribution.evidence["parameters.device"] == "cpu"
    assert reply.attribution.evidence["parameters.dtype"] == "float32"

    assert not worker.stub.Compile(pb.CompileRequest(shape=pb.Shape(procedure=pb.PREFILL))).phases
    assert not worker.stub.Unload(pb.UnloadRequest()).HasField("error")
    assert refusal(lambda: worker.stub.Call(call([1]))).code() == grpc.StatusCode.FAILED_PRECONDITION
    assert not worker.stub.Load(pb.LoadRequest()).HasField("error")
    assert not worker.stub.Call(call([1] * 200)).HasField("error")

    worker.stub.Shutdown(pb.ShutdownRequest())
    assert worker.process.wait(SECONDS) == 0
    assert worker.process.stdout is not None
    assert worker.process.stdout.read() == b""
    assert not path.exists()


def test_requests_out_of_order_are_refused(start: Start) -> None:
    stub = start().stub
    describe = pb.DescribeRequest(settings=settings())
    for request, state in [
        (lambda: stub.Describe(describe), "Describe in state new: it may come after Hello"),
        (lambda: stub.Prepare(pb.PrepareRequest(settings=settings())), "Prepare in state new: it may come after Hello"),
        (lambda: stub.Load(pb.LoadRequest()), "Load in state new: it may come after Prepare"),
        (lambda: stub.Call(call([1])), "Call in state new: it may come after Load"),
        (lambda: stub.Unload(pb.UnloadRequest()), "Unload in state new: it may come after Load"),
        (lambda: stub.Hello(pb.HelloRequest(protocol_version=0)), "speaks version 1 of the protocol"),
    ]:
        error = refusal(request)
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert state in error.details()
    stub.Hello(pb.HelloRequest(protocol_version=3))
    assert not stub.Cancel(pb.CancelRequest()).in_flight
    bad = stub.Describe(pb.DescribeRequest(settings=settings(colour="red")))
    assert bad.error.kind == pb.Error.INVALID
    assert "known are compile.backend" in bad.error.message
    cuda = stub.Describe(pb.DescribeRequest(settings=pb.Settings(device="cuda:7", dtype="f32")))
    assert cuda.error.kind == pb.Error.UNSUPPORTED
    assert "cuda:7 was asked for" in cuda.error.message
    assert not stub.Describe(describe).HasField("error")
    assert stub.Prepare(pb.PrepareRequest(settings=settings(), path="/")).error.kind == pb.Error.INVALID
    ready = stub.Prepare(pb.PrepareRequest(settings=settings(), path=str(folder("gpt2"))))
    assert (ready.parameters, ready.bytes) == (136960, 4 * 136960)


def test_a_call_in_flight_leaves_the_worker_answering_and_can_be_cancelled(start: Start) -> None:
    worker = start()
    worker.load(settings())
    reply = endless_call(worker)
    assert worker.hello().pid == worker.process.pid
    assert worker.stub.ReadClock(pb.ReadClockRequest()).now_ns > 0
    assert "while Call is in flight" in refusal(lambda: worker.stub.Call(call([1]))).details()
    assert not worker.stub.Cancel(pb.CancelRequest(call_id=2)).in_flight
    assert worker.stub.Cancel(pb.CancelRequest(call_id=1)).in_flight
    found = reply.result(SECONDS)
    assert found.error.kind == pb.Error.CANCELLED
    assert found.session_usable
    assert not worker.stub.Call(call([1, 2], steps=3)).HasField("error")


def endless_call(worker: Worker) -> grpc.Future:
    """A call that ends only when it is cancelled; it is in flight on return."""
    answer = worker.stub.Call.future(call([1, 2], steps=3, repeat=pb.Repeat(duration_ns=3_600_000_000_000)))
    while not in_flight(worker):
        assert not answer.done(), answer.exception()
    return answer


def in_flight(worker: Worker) -> bool:
    """Whether a loaded worker has a call in flight, asked for with a request that cannot get in a call's way."""
    details = refusal(lambda: worker.stub.Prepare(pb.PrepareRequest(settings=settings()))).details()
    if "while Call is in flight" in details:
        return True
    assert "in state loaded" in details, details
    return False


def test_a_client_that_leaves_ends_its_call(start: Start) -> None:
    worker = start()
    worker.load(settings())
    endless_call(worker).cancel()
    while in_flight(worker):
        pass
    assert not worker.stub.Call(call([1])).HasField("error")


def test_a_loaded_worker_that_is_not_called_uses_no_processor(start: Start) -> None:
    worker = start()
    worker.load(settings())
    worker.stub.Call(call([1, 2], steps=20))

    def ticks() -> int:
        fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    # A stretch to measure, not a wait for something to happen.
    before = ticks()
    threading.Event().wait(1)
    assert (ticks() - before) / os.sysconf("SC_CLK_TCK") < 0.05


def test_only_the_token_lets_in(start: Start) -> None:
    stub = start(**TOKEN).stub
    request = pb.HelloRequest(protocol_version=1)
    header = "x-phasebench-token"
    for metadata in ([], [(header, "wrong")], [(header, "correct horse"), (header, "x")]):
        error = refusal(lambda metadata=metadata: stub.Hello(request, metadata=metadata))  # type: ignore[misc]
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED
        assert "correct horse" not in error.details()
    assert stub.Hello(request, metadata=[(header, "correct horse")]).protocol_version == 1


def test_over_tcp_any_free_port_is_told(start: Start) -> None:
    worker = start(listen="tcp:127.0.0.1:0", **TOKEN)
    assert worker.ready.startswith("phasebench-worker ready tcp:127.0.0.1:")
    assert int(worker.ready.rpartition(":")[2]) > 0
    metadata = [("x-phasebench-token", "correct horse")]
    assert worker.stub.Hello(pb.HelloRequest(protocol_version=1), metadata=metadata).protocol_version == 1


@pytest.mark.parametrize("token", [{}, {"PHASEBENCH_WORKER_TOKEN": ""}], ids=["unset", "empty"])
def test_a_port_without_a_token_is_refused(start: Start, token: dict[str, str]) -> None:
    worker = start(listen="tcp:127.0.0.1:0", **token)
    assert worker.process.wait(SECONDS) == 2
    assert "a port needs a token" in worker.log
    assert worker.ready == ""


def test_a_description_changes_nothing_about_what_is_loaded(start: Start) -> None:
    worker = start()
    worker.load(settings())
    other = settings()
    other.threads = 2
    assert worker.stub.Describe(pb.DescribeRequest(settings=other)).facts["threads"] == "2"
    assert worker.stub.Call(call([1])).attribution.evidence["threads"] == "1"


def test_nothing_need_be_described_before_it_is_prepared(start: Start) -> None:
    worker = start()
    worker.hello()
    ready = worker.stub.Prepare(pb.PrepareRequest(settings=settings(), path=str(folder("gpt2"))))
    assert not ready.HasField("error"), ready.error
    assert not worker.stub.Load(pb.LoadRequest()).HasField("error")
    assert worker.stub.Call(call([1])).attribution.evidence["threads"] == "1"


@pytest.mark.parametrize("listen", ["tcp:0.0.0.0:0", "unix:relative.sock", "udp:127.0.0.1:1", "unix:/nonexistent/x"])
def test_other_addresses_are_refused(start: Start, listen: str) -> None:
    worker = start(listen=listen, **TOKEN)
    assert worker.process.wait(SECONDS) == 2
    assert f"cannot listen at `{listen}`" in worker.log
    assert worker.ready == ""


def test_the_worker_ends_with_its_parent(start: Start) -> None:
    worker = start()
    worker.load(settings())
    assert worker.process.stdin is not None
    worker.process.stdin.close()
    assert worker.process.wait(SECONDS) == -signal.SIGKILL


def test_the_worker_ends_when_nobody_asks(start: Start) -> None:
    worker = start("--exit-idle", "0.2")
    assert worker.process.wait(SECONDS) == 0


def test_a_signal_ends_the_worker_in_a_call(start: Start) -> None:
    worker = start()
    worker.load(settings())
    answer = endless_call(worker)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(SECONDS) == 0
    assert answer.result(SECONDS).error.kind == pb.Error.CANCELLED


@pytest.mark.parametrize(
    "environment",
    [{"CXX": "/nonexistent/c++"}, {"CXX": "false"}, {"CXX": "python-less"}],
    ids=["absent", "broken", "no Python.h"],
)
def test_inductor_without_a_compiler_is_unsupported(start: Start, tmp_path: Path, environment: dict[str, str]) -> None:
    if environment["CXX"] == "python-less":
        real = shutil.which("g++")
        assert real is not None
        script = tmp_path / "g++"
        script.write_text(
            f'#!/bin/sh\ncase "$1" in --version) exec {real} --version;; esac\nexec {real} -undef -nostdinc "$@"\n'
        )
        script.chmod(0o700)
        environment = {"CXX": str(script)}
    worker = start(**environment)
    worker.hello()
    reply = worker.stub.Describe(pb.DescribeRequest(settings=settings(decode="true")))
    assert reply.error.kind == pb.Error.UNSUPPORTED, reply
    assert "compiler" in reply.error.message or "Python.h" in reply.error.message
    assert "g++" in reply.fix
    # Eager needs none.
    assert not worker.stub.Describe(pb.DescribeRequest(settings=settings())).HasField("error")
