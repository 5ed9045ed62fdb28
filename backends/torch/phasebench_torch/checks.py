"""What a call must satisfy before anything is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import worker_pb2 as pb
from .errors import invalid


@dataclass(frozen=True)
class Bounds:
    """What a loaded model can take."""

    vocabulary: int
    """Token ids are below this."""
    context: int
    """Most positions of one row."""
    columns: int
    """Columns of its KV caches, padding included."""


def check_call(request: pb.CallRequest, bounds: Bounds) -> None:
    """Refuses what the model cannot run.

    Raises:
        WorkerError: INVALID, with what is allowed.
    """
    if request.procedure not in (pb.PREFILL, pb.PREFILL_DECODE, pb.UNCACHED):
        raise invalid(f"unknown procedure {request.procedure}")
    if request.procedure != pb.PREFILL and request.steps < 1:
        raise invalid("steps is 0: at least 1 with this procedure")
    if request.top_logprobs and request.HasField("repeat"):
        raise invalid("a looped call is not probed")
    prompts = [prompt.ids for prompt in request.prompts]
    _check_prompts(prompts, request.padded_to, bounds)
    # What the last pass chooses is never fed in.
    fed = {pb.PREFILL: 0, pb.PREFILL_DECODE: request.steps}.get(request.procedure, request.steps - 1)
    longest = max(map(len, prompts))
    if longest + fed > bounds.context:
        raise invalid(
            f"{longest} prompt tokens and {fed} fed back exceed the model's context of {bounds.context} tokens"
        )
    if request.procedure != pb.UNCACHED and request.padded_to + fed > bounds.columns:
        raise invalid(
            f"{request.padded_to} prompt columns and {fed} fed back exceed the {bounds.columns} columns of the static "
            "cache, which Load's longest_sequence sizes"
        )


def _check_prompts(prompts: Sequence[Sequence[int]], padded_to: int, bounds: Bounds) -> None:
    if not prompts:
        raise invalid("no prompts: at least one row")
    for index, row in enumerate(prompts):
        if not row:
            raise invalid(f"prompt {index} is empty: at least one token")
        if max(row) >= bounds.vocabulary:
            raise invalid(f"prompt {index} has token id {max(row)}: ids are below {bounds.vocabulary}")
    longest = max(map(len, prompts))
    if padded_to < longest:
        raise invalid(f"a prompt of {longest} tokens does not fit into rows padded to {padded_to}")


def bucket(padded_to: int, buckets: Sequence[int]) -> int:
    """Columns that a prompt of `padded_to` columns is padded to; 0: there are no buckets.

    Raises:
        WorkerError: INVALID, the prompt is longer than all of them.
    """
    if not buckets:
        return 0
    fitting = [size for size in buckets if size >= padded_to]
    if not fitting:
        raise invalid(f"{padded_to} prompt columns exceed the largest bucket, {max(buckets)}")
    return min(fitting)
