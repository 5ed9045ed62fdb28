"""Generates the protocol's Python code from `worker.proto`.

Run `python -m phasebench_torch.generate_protocol` after a change of the protocol; needs `grpcio-tools`.
"""

from __future__ import annotations

import sys
from pathlib import Path

PROTO = Path(__file__).resolve().parents[2] / "proto" / "worker.proto"
"""The protocol in the repository; not part of an installed worker."""

GENERATED = ("worker_pb2.py", "worker_pb2.pyi", "worker_pb2_grpc.py")
"""What `generate` writes."""


def generate(into: Path) -> None:
    """Writes the generated modules into the folder `into`.

    Raises:
        RuntimeError: the compiler refused the protocol.
    """
    from grpc_tools import protoc

    status = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTO.parent}",
            f"--python_out={into}",
            f"--pyi_out={into}",
            f"--grpc_python_out={into}",
            PROTO.name,
        ]
    )
    if status != 0:
        raise RuntimeError(f"protoc ended with status {status} on {PROTO}")
    # protoc knows no packages: its import works only if the folder is on the path.
    stub = into / "worker_pb2_grpc.py"
    text = stub.read_text(encoding="utf-8")
    relative = text.replace("import worker_pb2 as worker__pb2", "from . import worker_pb2 as worker__pb2")
    if relative == text:
        raise RuntimeError(f"{stub} has no import of worker_pb2 to make relative")
    stub.write_text(relative, encoding="utf-8")


if __name__ == "__main__":
    generate(Path(__file__).resolve().parent)
    sys.exit(0)
