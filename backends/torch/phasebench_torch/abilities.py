"""What this torch can do beyond the oldest that the worker runs on. What it lacks is told; nothing stands in for it."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, fields
from typing import Any

import torch

OLDEST = (2, 6)
"""Oldest torch that the worker runs on: the models' code, transformers, loads no older one."""


@dataclass(frozen=True)
class Abilities:
    """What differs between versions of torch. Each is looked for, not concluded from the version."""

    stance: bool
    """Refuses to recompile from one moment on. Without it only `on_recompile: record` can be had."""
    recompile_limit: bool
    """Takes a limit of compilations for one function."""
    recompile_reasons: bool
    """Says why it recompiled. Without them recompiles are counted, and no reason is told."""
    cudagraph_skip_reasons: bool
    """Says why it gave up a CUDA graph."""

    @property
    def lacking(self) -> str:
        """What is not there, by name; `nothing` where all is."""
        return ", ".join(field.name for field in fields(self) if not getattr(self, field.name)) or "nothing"


@functools.cache
def abilities() -> Abilities:
    """Of the torch that is imported."""
    from torch._dynamo import utils

    metrics = {field.name for field in fields(utils.CompilationMetrics)}
    return Abilities(
        stance=hasattr(torch.compiler, "set_stance"),
        recompile_limit="recompile_limit" in inspect.signature(torch.compile).parameters,
        recompile_reasons="recompile_reason" in metrics,
        cudagraph_skip_reasons="cudagraph_skip_reason" in metrics,
    )


def is_new_enough() -> bool:
    """Whether the worker runs on this torch."""
    numbers = str(torch.__version__).split("+", maxsplit=1)[0].split(".")[:2]
    return tuple(int(number) for number in numbers) >= OLDEST


def dynamo_limit(name: str) -> int:
    """One of dynamo's limits of recompiles by its name of today; older versions call them limits of a cache."""
    from torch._dynamo import config

    older = name.replace("recompile_limit", "cache_size_limit")
    return int(getattr(config, name, None) or getattr(config, older))


def recompiled(metrics: Any) -> bool:
    """Whether a compilation was one beyond the first of its code."""
    if abilities().recompile_reasons:
        return bool(metrics.recompile_reason)
    # `2/1`: the second compilation of the third piece of code.
    return str(metrics.compile_id or "").partition("/")[2].partition("_")[0] not in ("", "0")
