"""What a client asks the engine to be, checked before anything is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from . import worker_pb2 as pb
from .errors import invalid, unsupported

DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
"""Element types by the protocol's names; the values are torch's."""

BACKENDS = ("inductor", "aot_eager", "cudagraphs")
"""Compiler backends."""

MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
"""Presets of inductor."""


@dataclass(frozen=True)
class CompileSettings:
    """What `torch.compile` is given. The defaults are the meaning of an absent option."""

    prefill: bool = False
    decode: bool = False
    backend: str = "inductor"
    mode: str = "default"
    dynamic: bool | None = None
    """`None`: torch decides (static first, dynamic after the first change)."""
    buckets: tuple[int, ...] = ()
    """Prompt lengths, ascending, that prompts are padded to on the right; empty: no padding."""
    fullgraph: bool = True
    record_recompiles: bool = False
    """Whether a call may recompile (and tells of it); otherwise it fails."""
    recompile_limit: int | None = None
    """Compilations per phase before dynamo gives up. `None`: dynamo's default."""

    @property
    def any(self) -> bool:
        """Whether anything is compiled."""
        return self.prefill or self.decode


@dataclass(frozen=True)
class EngineSettings:
    """Everything that the engine is set to."""

    device: str
    """`cpu`, `cuda` or `cuda:N`."""
    dtype: str
    """One of `DTYPES`."""
    threads: int | None
    """Threads inside an operator. `None`: torch's default."""
    compile: CompileSettings

    @property
    def on_cuda(self) -> bool:
        """Whether a CUDA device is asked for."""
        return self.device.startswith("cuda")

    @property
    def cuda_graphs(self) -> bool:
        """Whether compiled code is to be replayed as CUDA graphs."""
        options = self.compile
        return self.on_cuda and (options.backend == "cudagraphs" or options.mode in ("reduce-overhead", "max-autotune"))

    @property
    def requested(self) -> str:
        """The engine in words, for attribution."""
        options = self.compile
        if not options.any:
            return f"torch eager, {self.device}"
        phases = "" if options.prefill and options.decode else " prefill" if options.prefill else " decode"
        mode = "" if options.mode == "default" else f" {options.mode}"
        return f"torch.compile {options.backend}{mode}{phases}, {self.device}"


def parse(settings: pb.Settings) -> EngineSettings:
    """Checks a client's settings.

    Raises:
        WorkerError: INVALID for a value or key that means nothing here, UNSUPPORTED for what torch cannot do; the
            message names all problems of the options at once.
    """
    if not re.fullmatch(r"cpu|cuda(:\d+)?", settings.device):
        raise invalid(f"unknown device `{settings.device}`: known are cpu, cuda, cuda:N")
    if settings.dtype not in DTYPES:
        raise invalid(f"unknown dtype `{settings.dtype}`: known are {', '.join(DTYPES)}")
    threads = settings.threads if settings.HasField("threads") else None
    if threads == 0:
        raise invalid("threads is 0: at least 1, or absent for the engine's default")
    options = parse_options(settings.options)
    found = EngineSettings(settings.device, settings.dtype, threads, options)
    # On other devices torch leaves the CUDA graphs away without a word.
    only_graphs = {"backend": options.backend == "cudagraphs", "mode": options.mode == "reduce-overhead"}
    for name, wanted in only_graphs.items():
        if options.any and wanted and not found.on_cuda:
            value = getattr(options, name)
            raise unsupported(f"option compile.{name} is {value}, which is CUDA graphs and needs a CUDA device")
    return found


def parse_options(options: Mapping[str, str]) -> CompileSettings:
    """Reads the `compile.*` options.

    Raises:
        WorkerError: INVALID, naming every unknown key and every bad value.
    """
    problems: list[str] = []
    values: dict[str, object] = {}
    for key, text in sorted(options.items()):
        reader = _OPTIONS.get(key)
        if reader is None:
            problems.append(f"unknown option `{key}`: known are {', '.join(sorted(_OPTIONS))}")
            continue
        field, allowed, read = reader
        try:
            values[field] = read(text.strip())
        except (KeyError, ValueError):
            problems.append(f"option {key} is `{text}`: allowed are {allowed}")
    if not problems:
        found = CompileSettings(**values)  # type: ignore[arg-type]
        problems.extend(_contradictions(found, options))
    if problems:
        raise invalid("; ".join(problems))
    return found


def _contradictions(found: CompileSettings, options: Mapping[str, str]) -> list[str]:
    problems = []
    if found.buckets and not found.prefill:
        problems.append("option compile.buckets pads compiled prefills, and compile.prefill is not true")
    if found.mode != "default" and found.backend != "inductor":
        problems.append(f"option compile.mode is a preset of inductor, not of {options['compile.backend']}")
    return problems


def _one_of(names: tuple[str, ...], text: str) -> str:
    if text not in names:
        raise ValueError(text)
    return text


def _buckets(text: str) -> tuple[int, ...]:
    lengths = tuple(int(part) for part in text.split(",")) if text else ()
    if any(length < 1 for length in lengths) or list(lengths) != sorted(set(lengths)):
        raise ValueError(text)
    return lengths


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


_FLAG = {"true": True, "false": False}

_OPTIONS = {
    "compile.prefill": ("prefill", "true, false", _FLAG.__getitem__),
    "compile.decode": ("decode", "true, false", _FLAG.__getitem__),
    "compile.backend": ("backend", ", ".join(BACKENDS), lambda text: _one_of(BACKENDS, text)),
    "compile.mode": ("mode", ", ".join(MODES), lambda text: _one_of(MODES, text)),
    "compile.dynamic": ("dynamic", "true, false, auto", {**_FLAG, "auto": None}.__getitem__),
    "compile.buckets": ("buckets", "ascending prompt lengths with commas between", _buckets),
    "compile.fullgraph": ("fullgraph", "true, false", _FLAG.__getitem__),
    "compile.on_recompile": ("record_recompiles", "fail, record", {"fail": False, "record": True}.__getitem__),
    "compile.recompile_limit": ("recompile_limit", "whole numbers from 1", _positive),
}
