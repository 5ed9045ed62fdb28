"""The forward passes, each its own function and, where asked for, its own compiled callable.

Two phases never share compiled code: dynamo keeps compiled code by function, and each is judged apart.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from . import worker_pb2 as pb
from .abilities import abilities
from .settings import CompileSettings

Answer = tuple[torch.Tensor, torch.Tensor]
"""Logits of the last column [rows, vocabulary] and their arg-max [rows, 1]."""


def prefill(
    module: Any, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, cache: Any, last: torch.Tensor
) -> Answer:
    """The pass over the prompts; `last` is the column whose logits are wanted."""
    logits = module(
        input_ids=ids,
        position_ids=positions,
        attention_mask=mask,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=last,
    ).logits[:, -1]
    return logits, logits.argmax(-1, keepdim=True)


def decode(module: Any, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, cache: Any) -> Answer:
    """The pass over one new column."""
    logits = module(
        input_ids=ids, position_ids=positions, attention_mask=mask, past_key_values=cache, use_cache=True
    ).logits[:, -1]
    return logits, logits.argmax(-1, keepdim=True)


def uncached(module: Any, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor) -> Answer:
    """The pass over everything so far, without a cache."""
    logits = module(
        input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False, logits_to_keep=1
    ).logits[:, -1]
    return logits, logits.argmax(-1, keepdim=True)


class CountingBackend:
    """A compiler backend that counts how often what it compiled is executed.

    That count alone tells compiled calls from calls that dynamo let run uncompiled.
    """

    def __init__(self, options: CompileSettings) -> None:
        self.executions = 0
        self._compile = _backend(options)

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        """Compiles a graph of dynamo's."""
        compiled = self._compile(graph, inputs)

        def counted(*arguments: Any) -> Any:
            self.executions += 1
            return compiled(*arguments)

        # Tells the caller to pass one list, which the callee may empty.
        if getattr(compiled, "_boxed_call", False):
            counted._boxed_call = True  # type: ignore[attr-defined]
        return counted


def _backend(options: CompileSettings) -> Callable[..., Any]:
    if options.backend == "inductor":
        from torch import _TorchCompileInductorWrapper

        wrapper: Callable[..., Any] = _TorchCompileInductorWrapper(options.mode, None, options.dynamic)
        return wrapper
    from torch._dynamo.backends.registry import lookup_backend

    found: Callable[..., Any] = lookup_backend(options.backend)
    return found


def start_compiler(options: CompileSettings, device: torch.device, dtype: torch.dtype) -> None:
    """Compiles something small, whatever comes of it.

    A compiler does things once for each process and each folder of its cache: inductor starts its helpers, tries which
    vectors the processor has and compiles its headers. Without this they would count as compiling the first shape, and
    a shape would cost more or less by when its turn comes. What fails here fails there too, and is told there.
    """
    with contextlib.suppress(Exception):
        torch.compile(_small, backend=CountingBackend(options))(torch.ones(64, 64, device=device, dtype=dtype))


def _small(numbers: torch.Tensor) -> torch.Tensor:
    return (numbers * 2).softmax(-1)


class Pass:
    """One phase's forward pass and how it runs."""

    def __init__(
        self,
        phase: pb.Phase,
        function: Callable[..., Answer],
        options: CompileSettings | None,
        *,
        cuda_graphs: bool = False,
    ) -> None:
        self.phase = phase
        self.options = options
        """`None`: eager."""
        self.cuda_graphs = cuda_graphs
        """Whether compiled code is to be replayed as CUDA graphs."""
        self.calls = 0
        """Calls so far."""
        self.broken = 0
        """Graph breaks seen in this phase since the model was loaded: its code never runs as one graph again."""
        self.graphs_skipped = 0
        """CUDA graphs that the compiler gave up in this phase since the model was loaded."""
        self._backend = CountingBackend(options) if options else None
        self._function = function
        if options:
            limit = {"recompile_limit": options.recompile_limit} if abilities().recompile_limit else {}
            # The overloads lack recompile_limit, which the function has.
            self._function = torch.compile(  # type: ignore[call-overload]
                function, backend=self._backend, fullgraph=options.fullgraph, dynamic=options.dynamic, **limit
            )

    @property
    def requested(self) -> str:
        """`eager` or the compiler's backend."""
        return self.options.backend if self.options else "eager"

    @property
    def executions(self) -> int:
        """Executions of compiled code so far."""
        return self._backend.executions if self._backend else 0

    def __call__(self, *arguments: Any) -> Answer:
        """One call to the model."""
        self.calls += 1
        if self.cuda_graphs:
            # The outputs of the call before may be overwritten.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return self._function(*arguments)
