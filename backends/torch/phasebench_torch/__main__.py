"""Command line of the worker: listens, says so in one line on standard output, and serves until it is told to stop."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from concurrent import futures
from typing import NoReturn

# grpc reads these when it is imported. The compiler's processes are spawned, not forked from this one's threads.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
# The thread that waits for requests also reads them from the socket. gRPC's own pool would hand each from thread to
# thread first, which takes a tenth of what a call spends outside its phases.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
# The models are folders: nothing is ever fetched.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import grpc

from .lifetime import end_with_parent, exit_when_idle, stop_on_signal
from .server import Guard, TorchWorker
from .worker_pb2_grpc import add_WorkerServicer_to_server

MESSAGE_BYTES = 64 << 20
"""Largest message in either direction."""

TOKEN_VARIABLE = "PHASEBENCH_WORKER_TOKEN"  # noqa: S105 - a name, not a token
"""Environment variable with the token that every request must carry. A port needs one; a socket's folder keeps others
out, and unset means that none is asked for."""

_GRACE_SECONDS = 5.0


def main() -> None:
    """Runs the worker."""
    arguments = _arguments()
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="phasebench-torch %(asctime)s %(levelname)s %(message)s"
    )
    token = os.environ.get(TOKEN_VARIABLE)
    if arguments.listen.startswith("tcp:") and not token:
        _fail(f"a port needs a token, which others on this machine do not know: set {TOKEN_VARIABLE}")
    worker = TorchWorker()
    guard = Guard(token, worker.pool)
    server = grpc.server(
        futures.ThreadPoolExecutor(8, thread_name_prefix="rpc"),
        interceptors=[guard],
        options=[
            ("grpc.max_send_message_length", MESSAGE_BYTES),
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),
            # No pings that measure the link: they would fall into the phases of a call.
            ("grpc.http2.bdp_probe", 0),
        ],
    )
    add_WorkerServicer_to_server(worker, server)  # type: ignore[no-untyped-call]
    address = _listen(server, arguments.listen)
    stop_on_signal(worker.stopping)
    server.start()
    _say_ready(address)
    if arguments.exit_on_stdin_close:
        end_with_parent()
    if arguments.exit_idle is not None:
        exit_when_idle(guard.idle_ns, arguments.exit_idle, worker.stopping)
    worker.stopping.wait()
    worker.session.cancel()
    server.stop(_GRACE_SECONDS).wait()
    _exit()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="phasebench_torch", description="serves PyTorch over the worker protocol")
    parser.add_argument(
        "--listen", required=True, metavar="unix:/PATH|tcp:127.0.0.1:PORT", help="PORT 0 takes any free one"
    )
    parser.add_argument(
        "--exit-on-stdin-close",
        action="store_true",
        help="end, with the own process group, when standard input is closed",
    )
    parser.add_argument(
        "--exit-idle", type=_seconds, metavar="SECONDS", help="exit when no request came for so long and none runs"
    )
    return parser.parse_args()


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return seconds


def _listen(server: grpc.Server, listen: str) -> str:
    """Binds the server. The address that it is reached at."""
    kind, _, rest = listen.partition(":")
    if kind == "unix" and rest.startswith("/"):
        # The folder keeps others out; the socket's own mode does too.
        before = os.umask(0o177)
        try:
            _bind(server, f"unix:{rest}", listen)
        finally:
            os.umask(before)
        return listen
    host, _, port = rest.rpartition(":")
    if kind != "tcp" or host != "127.0.0.1" or not port.isdigit():
        _fail(f"cannot listen at `{listen}`: known are unix:/PATH and tcp:127.0.0.1:PORT")
    return f"tcp:{host}:{_bind(server, f'{host}:{port}', listen)}"


def _bind(server: grpc.Server, address: str, listen: str) -> int:
    try:
        port = int(server.add_insecure_port(address))
    except RuntimeError as error:
        _fail(f"cannot listen at `{listen}`: {error}")
    if port == 0:
        _fail(f"cannot listen at `{listen}`")
    return port


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"error: {message}\n")
    sys.exit(2)


def _say_ready(address: str) -> None:
    """Prints the one line, and gives everything printed later to standard error."""
    os.write(1, f"phasebench-worker ready {address}\n".encode())
    sys.stdout.flush()
    os.dup2(2, 1)


def _exit() -> NoReturn:
    """Ends with status 0, whatever does not end: a forward pass, a compilation, a library that cleans up."""
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
