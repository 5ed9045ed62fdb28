"""What torch is here and how it is set: for the manifest, and whether the settings can be had."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib import metadata

import torch

from . import __version__
from . import worker_pb2 as pb
from .abilities import OLDEST, abilities, dynamo_limit, is_new_enough
from .errors import WorkerError, unsupported
from .settings import EngineSettings
from .toolchain import code_folder, cxx_compiler

ABSENT = "absent"
"""What a fact is where there is no such thing."""

_DEFAULT_THREADS = torch.get_num_threads()


def apply_threads(settings: EngineSettings) -> None:
    """Sets the threads inside an operator, on the calling thread and for what is compiled from it."""
    torch.set_num_threads(settings.threads or _DEFAULT_THREADS)


def check(settings: EngineSettings) -> None:
    """Tries what the settings need.

    Raises:
        WorkerError: UNSUPPORTED, with what helps.
    """
    if not is_new_enough():
        oldest = ".".join(map(str, OLDEST))
        raise unsupported(f"torch is {torch.__version__}, and the worker needs {oldest} or newer", fix=_OTHER)
    if settings.on_cuda:
        _check_cuda(settings)
    _check_abilities(settings)
    options = settings.compile
    if options.any and options.backend == "inductor":
        code_folder()
        if settings.on_cuda:
            if _version("triton") == ABSENT:
                raise unsupported("inductor needs triton on a CUDA device, and it is not installed", fix=_INSTALL)
        else:
            cxx_compiler()


_OTHER = "name a Python with a newer torch, or: phasebench setup torch"


def _check_abilities(settings: EngineSettings) -> None:
    options, found = settings.compile, abilities()
    if options.any and not options.record_recompiles and not found.stance:
        raise unsupported(
            f"torch {torch.__version__} cannot refuse to recompile, so nothing would prove that a call did not",
            fix="compile: { on_recompile: record }, or a newer torch",
        )
    if options.recompile_limit is not None and not found.recompile_limit:
        raise unsupported(
            f"torch {torch.__version__} takes no limit of compilations for one function", fix="remove `recompile_limit`"
        )


_INSTALL = "install the worker's requirements.lock"


def _check_cuda(settings: EngineSettings) -> None:
    if not torch.cuda.is_available():
        build = torch.version.cuda or "no CUDA"
        raise unsupported(
            f"{settings.device} was asked for, and torch {torch.__version__} (built for {build}) finds no CUDA device",
            fix="use device: cpu, or make a GPU and its driver visible to the worker (for a container: --gpus)",
        )
    count = torch.cuda.device_count()
    index = torch.device(settings.device).index or 0
    if index >= count:
        raise unsupported(f"{settings.device} was asked for, and there are {count} CUDA devices, counted from 0")


def describe(settings: EngineSettings) -> pb.DescribeReply:
    """The engine as set. Threads must have been applied."""
    reply = pb.DescribeReply(engine="PyTorch", engine_version=str(torch.__version__))
    reply.facts.update(_software())
    reply.facts.update(_made(settings))
    reply.facts.update(_compiler(settings))
    reply.facts.update(environment(os.environ))
    for phase, text in boundary(settings).items():
        reply.boundary[phase] = text
    try:
        check(settings)
    except WorkerError as error:
        reply.error.CopyFrom(error.wire())
        reply.fix = error.fix
    return reply


def _software() -> dict[str, str]:
    return {
        "worker.version": __version__,
        "python.version": platform.python_version(),
        "torch.version": str(torch.__version__),
        "torch.git_version": str(torch.version.git_version),
        "transformers.version": _version("transformers"),
        "triton.version": _version("triton"),
        "numpy.version": _version("numpy"),
        "cuda.version": torch.version.cuda or ABSENT,
        "cudnn.version": str(torch.backends.cudnn.version() or ABSENT),  # type: ignore[no-untyped-call]
        "cpu.capability": torch.backends.cpu.get_cpu_capability(),
    }


# What of the environment changes how fast torch, its threads and its compiler are.
_HEEDED = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "TORCH", "PYTORCH_", "TRITON_", "CUDA_", "CUBLAS_", "NVIDIA_")
# Folders of one run; where the compiler's is stands in a fact of its own.
_FOLDERS = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that torch, its threads and its compiler heed, those set alone, as `environment.NAME`."""
    heeded = sorted(name for name in variables if name.startswith(_HEEDED) and name not in _FOLDERS)
    return {f"environment.{name}": variables[name] for name in heeded}


def _made(settings: EngineSettings) -> dict[str, str]:
    facts = {
        "device": settings.device,
        "dtype": settings.dtype,
        "threads": str(torch.get_num_threads()),
        "threads.interop": str(torch.get_num_interop_threads()),
        "attention": "sdpa",
    }
    if settings.on_cuda and torch.cuda.is_available():
        facts["device.name"] = torch.cuda.get_device_name(settings.device)
        facts["device.capability"] = ".".join(map(str, torch.cuda.get_device_capability(settings.device)))
        facts["cuda.matmul.fp32_precision"] = str(getattr(torch.backends.cuda.matmul, "fp32_precision", ABSENT))
    return facts


def _compiler(settings: EngineSettings) -> dict[str, str]:
    """The compiler's settings; nothing where nothing is compiled."""
    options = settings.compile
    if not options.any:
        return {"compile": "none"}
    from torch._dynamo import config as dynamo

    dynamic = {None: "auto", True: "true", False: "false"}[options.dynamic]
    facts = {
        "compile": " ".join(name for name in ("prefill", "decode") if getattr(options, name)),
        "compile.backend": options.backend,
        "compile.mode": options.mode,
        "compile.dynamic": dynamic,
        "compile.buckets": ",".join(map(str, options.buckets)) or ABSENT,
        "compile.fullgraph": str(options.fullgraph).lower(),
        "compile.on_recompile": "record" if options.record_recompiles else "fail",
        "dynamo.recompile_limit": str(options.recompile_limit or dynamo_limit("recompile_limit")),
        "dynamo.accumulated_recompile_limit": str(dynamo_limit("accumulated_recompile_limit")),
        "dynamo.lacks": abilities().lacking,
    }
    for name in ("automatic_dynamic_shapes", "assume_static_by_default", "force_parameter_static_shapes"):
        facts[f"dynamo.{name}"] = str(getattr(dynamo, name, ABSENT)).lower()
    facts["dynamo.suppress_errors"] = str(dynamo.suppress_errors).lower()
    if options.backend == "inductor":
        facts.update(_inductor(settings))
    return facts


def _inductor(settings: EngineSettings) -> dict[str, str]:
    from torch._inductor import config
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    facts = {
        "inductor.cache_dir": cache_dir(),
        "inductor.fx_graph_cache": str(config.fx_graph_cache).lower(),
        "inductor.compile_threads": str(config.compile_threads),
        "inductor.freezing": str(config.freezing).lower(),
    }
    if not settings.on_cuda:
        try:
            found = cxx_compiler()
            facts |= {"cxx": found.command, "cxx.version": found.version}
        except WorkerError:
            facts["cxx"] = ABSENT
    return facts


def boundary(settings: EngineSettings) -> dict[str, str]:
    """What each phase's timed region includes and leaves out."""
    ends = "device synchronised at both ends" if settings.on_cuda else "ends when the arg-max is done"
    buckets = ", columns added by the bucket included" if settings.compile.buckets else ""
    cached = "attention over all columns of the static KV cache, hidden ones included"
    outside = (
        "Left out: tokenisation, making tensors and masks, clearing the cache, copying tokens to the host, transport."
    )
    return {
        "prefill": (
            f"one forward pass over the prompts{buckets} into an empty static KV cache, {cached}, logits and arg-max "
            f"of the last column; {ends}. {outside}"
        ),
        "kv_decode": (
            f"for each step: token, position and mask updated in place, one forward pass over one column on the static "
            f"KV cache, {cached}, logits and arg-max; {ends}. {outside}"
        ),
        "generate_uncached": (
            f"for each step: one forward pass over everything so far without a KV cache, logits and arg-max of the "
            f"last column; {ends}. {outside}"
        ),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ABSENT
