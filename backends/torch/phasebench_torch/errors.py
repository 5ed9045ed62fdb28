"""Why something could not be done, in the protocol's kinds and with the engine's own words."""

from __future__ import annotations

import sys
from types import ModuleType

from . import worker_pb2 as pb

MESSAGE_LIMIT = 4000
"""Longest message that the protocol lets through, in characters."""

REASON_LIMIT = 500
"""Longest reason of a recompile or graph break, in characters."""

_OUT_OF_MEMORY = ("can't allocate memory", "defaultcpuallocator", "out of memory", "cublas_status_alloc_failed")
_DEVICE_LOST = ("cuda error", "cublas_status", "cudnn_status", "device-side assert")
_STANCE = "torch.compile stance is 'fail_on_recompile'"


class WorkerError(Exception):
    """A request that was understood and could not be served; answered inside the reply.

    `kind` is one of `pb.Error.Kind`; `fix` is what helps, or empty; `session_usable` tells whether the loaded model can
    take another call.
    """

    def __init__(self, kind: pb.Error.Kind, message: str, *, fix: str = "", session_usable: bool = True) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = bounded(message, MESSAGE_LIMIT)
        self.fix = fix
        self.session_usable = session_usable

    def wire(self) -> pb.Error:
        """The error as the protocol's message."""
        return pb.Error(kind=self.kind, message=self.message)


class OutOfOrder(Exception):
    """A request that the protocol does not allow at this point; answered with the gRPC status FAILED_PRECONDITION."""


class Cancelled(Exception):
    """A Cancel was noticed between two steps."""


def invalid(message: str, *, fix: str = "") -> WorkerError:
    """An error of kind INVALID; nothing was touched."""
    return WorkerError(pb.Error.INVALID, message, fix=fix)


def unsupported(message: str, *, fix: str = "") -> WorkerError:
    """An error of kind UNSUPPORTED; nothing was touched."""
    return WorkerError(pb.Error.UNSUPPORTED, message, fix=fix)


def bounded(text: str, limit: int) -> str:
    """`text`, or its beginning and end where it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    gap = " [...] "
    head = (limit - len(gap)) // 2
    tail = limit - len(gap) - head
    return f"{text[:head]}{gap}{text[-tail:]}"


def classify(error: BaseException) -> WorkerError:
    """What the protocol calls an exception that the engine raised.

    Causes are looked through too: a compiler that ran out of memory is reported as out of memory.
    """
    if isinstance(error, WorkerError):
        return error
    if isinstance(error, Cancelled):
        return WorkerError(pb.Error.CANCELLED, "cancelled")
    chain = _chain(error)
    words = _words(error)
    if any(_is_out_of_memory(one) for one in chain):
        return WorkerError(pb.Error.OOM, words, session_usable=False)
    if any(_is_device_lost(one) for one in chain):
        return WorkerError(pb.Error.INTERNAL, words, session_usable=False)
    if any(_is_recompile(one) for one in chain):
        return WorkerError(pb.Error.RECOMPILE, words)
    if any(_is_compiler(one) for one in chain):
        return WorkerError(pb.Error.COMPILE_FAILED, words)
    return WorkerError(pb.Error.INTERNAL, words)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and what caused it, outermost first."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        inner = getattr(following, "inner_exception", None)
        following = inner if isinstance(inner, BaseException) else following.__cause__ or following.__context__
    return chain


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or _is_a(error, "torch", ("OutOfMemoryError",)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def _is_device_lost(error: BaseException) -> bool:
    if _is_a(error, "torch", ("AcceleratorError",)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _DEVICE_LOST)


def _is_recompile(error: BaseException) -> bool:
    if _is_a(error, "torch._dynamo.exc", ("RecompileError", "FailOnRecompileLimitHit", "RecompileLimitExceeded")):
        return True
    return isinstance(error, RuntimeError) and _STANCE in str(error)


def _is_compiler(error: BaseException) -> bool:
    return (
        _is_a(error, "torch._dynamo.exc", ("TorchDynamoException",))
        or _is_a(error, "torch._inductor.exc", ("InductorError", "CppCompileError", "InvalidCxxCompiler"))
        or type(error).__module__.startswith(("torch._dynamo", "torch._inductor", "torch._functorch"))
    )


def _is_a(error: BaseException, module: str, names: tuple[str, ...]) -> bool:
    """Whether `error` is one of a module's classes; false while that module was never imported."""
    loaded: ModuleType | None = sys.modules.get(module)
    classes = (getattr(loaded, name, None) for name in names)
    return any(isinstance(cls, type) and isinstance(error, cls) for cls in classes)
