"""Eager calls: padding, procedures, times, cancelling, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from phasebench_torch import worker_pb2 as pb
from phasebench_torch.engine import Engine

from .conftest import FAMILIES, call, load, run

ROWS = ([5, 6, 7, 8, 9], [3], [40, 41, 42])


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = load()
    yield engine
    engine.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_batch_equals_its_rows_alone(family: str) -> None:
    engine = load(family)
    reply, together = run(engine, call(*ROWS, steps=4, padded_to=7))
    assert list(reply.prompt_tokens) == [5, 1, 3]
    for index, row in enumerate(ROWS):
        _, alone = run(engine, call(row, steps=4))
        for one, many in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], many[index], rtol=0, atol=1e-5)
    engine.close()


def test_without_a_cache_the_logits_are_the_same(engine: Engine) -> None:
    cached, with_cache = run(engine, call(*ROWS, steps=5, padded_to=6))
    uncached, without = run(engine, call(*ROWS, steps=6, padded_to=6, procedure=pb.UNCACHED))
    assert list(uncached.tokens) == list(cached.tokens)
    assert uncached.steps_timed == 6
    assert not uncached.memory.HasField("kv_bytes")
    for one, other in zip(with_cache, without, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_the_cache_of_the_call_before_changes_nothing(engine: Engine) -> None:
    _, first = run(engine, call([1, 2, 3], steps=3))
    run(engine, call([9] * 30, steps=20))
    _, again = run(engine, call([1, 2, 3], steps=3))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_phases_are_in_order_and_steps_inside(engine: Engine) -> None:
    reply, _ = run(engine, call([1, 2, 3], steps=4))
    prefill, decode = reply.spans
    assert (prefill.phase, decode.phase) == (pb.PHASE_PREFILL, pb.PHASE_KV_DECODE)
    ends = list(reply.step_ends_ns)
    marks = [prefill.begin_ns, prefill.end_ns, decode.begin_ns, *ends]
    assert marks == sorted(marks)
    assert decode.end_ns == ends[-1]
    assert (reply.steps_timed, len(ends), len(reply.tokens[0].ids)) == (4, 4, 5)
    # 2 (keys, values) x 2 layers x 64 columns x 64 wide x 4 bytes
    assert reply.memory.kv_bytes == 2 * 2 * 64 * 64 * 4
    assert [phase.actual for phase in reply.phases] == ["eager", "eager"]


def test_a_window_repeats_whole_calls(engine: Engine) -> None:
    reply, seen = run(engine, call([1, 2], steps=2, repeat=pb.Repeat(duration_ns=30_000_000, gap_ns=1000)))
    assert not reply.HasField("error")
    repetitions = len(reply.spans) // 2
    assert repetitions > 1
    assert len(seen) == repetitions * 3
    assert [span.phase for span in reply.spans] == [pb.PHASE_PREFILL, pb.PHASE_KV_DECODE] * repetitions
    assert [phase.calls for phase in reply.phases] == [repetitions, 2 * repetitions]
    assert (reply.steps_timed, len(reply.step_ends_ns), len(reply.tokens[0].ids)) == (2, 2, 3)
    assert reply.spans[-1].end_ns - reply.spans[0].begin_ns >= 30_000_000


def test_a_cancel_keeps_the_steps_that_were_done(engine: Engine) -> None:
    cancelled, passes = threading.Event(), 0

    def observe(_: torch.Tensor) -> None:
        nonlocal passes
        passes += 1
        if passes == 4:
            cancelled.set()

    reply = engine.call(call([1, 2], steps=10), cancelled, observe)
    assert reply.error.kind == pb.Error.CANCELLED
    assert reply.session_usable
    assert [span.phase for span in reply.spans] == [pb.PHASE_PREFILL, pb.PHASE_KV_DECODE]
    assert (reply.steps_timed, len(reply.tokens[0].ids)) == (3, 4)
    assert reply.spans[1].end_ns == reply.step_ends_ns[-1]


REFUSED = [
    (call(), "no prompts"),
    (call([1], []), "prompt 1 is empty"),
    (call([1, 320]), "ids are below 320"),
    (call([1, 2, 3], padded_to=2), "does not fit into rows padded to 2"),
    (call([1] * 60, steps=5), "exceed the 64 columns of the static cache"),
    (call([1] * 250, steps=7, procedure=pb.UNCACHED, padded_to=251), ""),
    (call([1] * 250, steps=8, procedure=pb.UNCACHED), "exceed the model's context of 256 tokens"),
    (call([1], procedure=pb.PREFILL_DECODE), "steps is 0"),
    (call([1], procedure=pb.PROCEDURE_UNSPECIFIED), "unknown procedure"),
]


@pytest.mark.parametrize(("request_", "why"), REFUSED)
def test_what_does_not_fit_is_refused(engine: Engine, request_: pb.CallRequest, why: str) -> None:
    reply, seen = run(engine, request_)
    if not why:
        assert not reply.HasField("error")
        return
    assert reply.error.kind == pb.Error.INVALID
    assert why in reply.error.message
    assert reply.session_usable
    assert not seen


def test_a_probe_tells_the_most_probable_tokens_and_changes_no_answer(engine: Engine) -> None:
    plain, seen = run(engine, call(*ROWS, steps=4, padded_to=7))
    request = call(*ROWS, steps=4, padded_to=7)
    request.top_logprobs = 3
    reply = engine.call(request, threading.Event())
    assert not plain.logprobs
    assert list(reply.tokens) == list(plain.tokens)
    assert len(reply.spans) == 2
    assert len(reply.logprobs) == len(ROWS)
    for index, row in enumerate(reply.logprobs):
        assert [place.ids[0] for place in row.tokens] == list(reply.tokens[index].ids)
        for place, expected in zip(row.tokens, seen, strict=True):
            best = expected[index].topk(3)
            assert list(place.ids) == best.indices.tolist()
            torch.testing.assert_close(torch.tensor(place.logprobs), best.values, rtol=0, atol=1e-5)


def test_a_looped_call_is_not_probed(engine: Engine) -> None:
    request = call([1], steps=1, repeat=pb.Repeat(duration_ns=1))
    request.top_logprobs = 1
    reply, _ = run(engine, request)
    assert (reply.error.kind, reply.error.message) == (pb.Error.INVALID, "a looped call is not probed")


def test_out_of_memory_is_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr(engine.passes.prefill, "_function", exhausted)
    reply, _ = run(engine, call([1]))
    assert reply.error.kind == pb.Error.OOM
    assert "you tried" in reply.error.message
    assert not reply.session_usable


def test_eager_rows_name_compiled_code(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    sneaky = torch.compile(engine.passes.prefill._function, backend="eager")
    monkeypatch.setattr(engine.passes.prefill, "_function", sneaky)
    reply, _ = run(engine, call([1, 2]))
    assert reply.error.kind == pb.Error.FALLBACK
    assert not reply.phases[0].HasField("actual")
    assert not reply.attribution.HasField("actual")
