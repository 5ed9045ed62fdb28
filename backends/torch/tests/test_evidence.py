"""What compiled and what did not, on real torch: a fallback is never a compile row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from phasebench_torch import worker_pb2 as pb
from phasebench_torch.engine import Engine
from phasebench_torch.evidence import PhaseWindow
from phasebench_torch.passes import Pass, decode
from phasebench_torch.settings import CompileSettings

from .conftest import call, load, run, warm

PROMPT = [5, 6, 7, 8, 9]
COMPILED = {"prefill": "true", "decode": "true", "backend": "aot_eager"}


@pytest.fixture
def engine_with() -> Iterator[Callable[..., Engine]]:
    """Loads engines that compile with aot_eager; the test's end closes them."""
    engines: list[Engine] = []

    def engine_with(**options: str) -> Engine:
        engines.append(load("gpt2", 64, **{**COMPILED, **options}))
        return engines[-1]

    yield engine_with
    for engine in engines:
        engine.close()


def prompt(length: int) -> list[int]:
    return list(range(1, length + 1))


def test_stable_shapes_run_as_one_graph_for_each_phase_and_bucket(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with(buckets="4,8")
    graphs = 0
    for length in (3, 4, 6, 8):
        made = warm(engine, 1, length)
        assert not made.HasField("error"), made.error
        graphs += sum(phase.unique_graphs for phase in made.phases)
        assert all(phase.duration_ns > 0 for phase in made.phases)
    # Two buckets and the decode step.
    assert graphs == 3
    for length in (2, 5, 7):
        reply, _ = run(engine, call(prompt(length), steps=3))
        assert not reply.HasField("error"), reply.error
        assert reply.attribution.actual == reply.attribution.requested == "torch.compile aot_eager, cpu"
        prefill, decode = reply.phases
        assert (prefill.calls, prefill.executions, prefill.bucket) == (1, 1, 4 if length < 5 else 8)
        assert (decode.calls, decode.executions, decode.bucket) == (3, 3, 0)
        for phase in reply.phases:
            assert phase.actual == "aot_eager"
            assert (phase.unique_graphs, phase.graph_breaks, phase.recompiles, phase.guard_failures) == (0, 0, 0, 0)


def test_buckets_change_no_logits(engine_with: Callable[..., Engine]) -> None:
    plain = load()
    _, expected = run(plain, call(PROMPT, [3], steps=4, padded_to=6))
    plain.close()
    engine = engine_with(buckets="16")
    warm(engine, 2, 6)
    _, found = run(engine, call(PROMPT, [3], steps=4, padded_to=6))
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    reply, _ = run(engine, call(prompt(17)))
    assert reply.error.kind == pb.Error.INVALID
    assert "largest bucket, 16" in reply.error.message


def test_one_phase_compiles_and_the_other_does_not(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with(prefill="false")
    made = warm(engine, 1, 5)
    assert [phase.requested for phase in made.phases] == ["eager", "aot_eager"]
    reply, _ = run(engine, call(PROMPT, steps=3))
    assert [phase.actual for phase in reply.phases] == ["eager", "aot_eager"]
    assert reply.phases[0].executions == 0
    assert reply.attribution.actual == "torch.compile aot_eager decode, cpu"


def test_a_shape_that_was_not_made_ready_fails(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with(dynamic="false")
    for ready in (False, True):
        if ready:
            assert not warm(engine, 1, 4).HasField("error")
        reply, seen = run(engine, call(PROMPT, steps=2))
        assert reply.error.kind == pb.Error.RECOMPILE, reply.error
        assert "fail_on_recompile" in reply.error.message
        assert reply.session_usable
        assert not seen
        assert not reply.spans
        assert not reply.attribution.HasField("actual")
    assert "expected 4, actual 5" in reply.error.message
    reply, _ = run(engine, call(prompt(4), steps=2))
    assert not reply.HasField("error"), reply.error


def test_churned_lengths_recompile_and_say_so(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with(dynamic="false", on_recompile="record")
    recompiles = []
    for length in (4, 5, 6, 5):
        # Nothing is made ready: what a new length costs is in its call.
        assert warm(engine, 1, length) == pb.CompileReply()
        reply, _ = run(engine, call(prompt(length), steps=2))
        assert not reply.HasField("error"), reply.error
        prefill, decode = reply.phases
        assert prefill.actual == decode.actual == "aot_eager"
        assert (prefill.compile_ns > 0) == (prefill.unique_graphs > 0)
        recompiles.append((prefill.unique_graphs, prefill.recompiles))
        assert decode.recompiles == 0
    assert recompiles == [(1, 0), (1, 1), (1, 1), (0, 0)]


def test_dynamic_shapes_need_one_graph(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with(dynamic="true", on_recompile="record")
    graphs = []
    # Not 4: torch takes a length that equals the number of heads for that number.
    for length in (5, 9, 17):
        reply, _ = run(engine, call(prompt(length), steps=2))
        assert not reply.HasField("error"), reply.error
        graphs.append([phase.unique_graphs for phase in reply.phases])
    assert graphs == [[1, 1], [0, 0], [0, 0]]


def test_past_the_recompile_limit_eager_is_a_fallback(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with(dynamic="false", on_recompile="record", fullgraph="false", recompile_limit="1")
    reply, _ = run(engine, call(prompt(4), steps=2))
    assert not reply.HasField("error"), reply.error
    for _ in range(2):
        reply, _ = run(engine, call(prompt(5), steps=2))
        assert reply.error.kind == pb.Error.FALLBACK
        assert "prefill: 0 of 1 calls ran compiled" in reply.error.message
        prefill, decode = reply.phases
        assert not prefill.HasField("actual")
        assert decode.actual == "aot_eager"
        assert not reply.attribution.HasField("actual")
        assert reply.session_usable
        assert len(reply.spans) == 2


def test_past_the_recompile_limit_a_full_graph_is_an_error(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with(dynamic="false", on_recompile="record", recompile_limit="1")
    run(engine, call(prompt(4), steps=2))
    reply, _ = run(engine, call(prompt(5), steps=2))
    assert reply.error.kind == pb.Error.RECOMPILE, reply.error
    assert "FailOnRecompileLimitHit" in reply.error.message
    assert "expected 4, actual 5" in reply.error.message
    assert not reply.attribution.HasField("actual")


def break_graph(engine: Engine) -> None:
    def hook(_module: Any, _inputs: Any) -> None:
        torch._dynamo.graph_break()

    module: Any = engine.model.module
    module.transformer.h[1].register_forward_pre_hook(hook)


def test_a_broken_graph_is_a_fallback(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with(fullgraph="false", on_recompile="record")
    break_graph(engine)
    breaks = []
    for _ in range(2):
        reply, _ = run(engine, call(PROMPT, steps=2))
        assert reply.error.kind == pb.Error.FALLBACK
        assert "graph breaks" in reply.error.message
        assert not any(phase.HasField("actual") for phase in reply.phases)
        breaks.append(reply.phases[0].graph_breaks)
    # Counted when it happens, and never forgotten.
    assert breaks[0] > 0
    assert breaks[1] == 0


def test_a_broken_graph_where_none_may_be_is_an_error(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with()
    break_graph(engine)
    made = warm(engine, 1, 5)
    assert made.error.kind == pb.Error.COMPILE_FAILED, made.error
    assert "graph_break" in made.error.message


def test_a_backend_that_raises_is_told_in_its_words(
    engine_with: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_with(fullgraph="false")

    def broken(_graph: object, _inputs: object) -> None:
        raise ValueError("no such instruction: vfoo")

    monkeypatch.setattr(engine.passes.decode._backend, "_compile", broken)
    made = warm(engine, 1, 5)
    assert made.error.kind == pb.Error.COMPILE_FAILED, made.error
    assert "no such instruction: vfoo" in made.error.message
    assert made.phases[0].actual == "aot_eager"


def test_what_a_compiler_does_once_is_a_part_of_the_load_and_of_no_shape(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with()
    assert engine.parts[-1].name == "start of the compiler"
    assert engine.parts[-1].duration_ns > 0
    assert not torch._dynamo.utils.counters
    made = warm(engine, 1, 5)
    assert [phase.unique_graphs for phase in made.phases] == [1, 1]
    eager = load()
    assert "start of the compiler" not in [part.name for part in eager.parts]
    eager.close()


def test_inductor_without_a_compiler_fails() -> None:
    from torch._inductor import config
    from torch._inductor.utils import fresh_cache

    engine = load(decode="true")
    with fresh_cache(), config.patch({"cpp.cxx": ("/nonexistent/c++",)}):
        made = warm(engine, 1, 5)
    engine.close()
    assert made.error.kind == pb.Error.COMPILE_FAILED, made.error
    assert "compiler" in made.error.message.lower()


def test_settings_that_swallow_errors_are_off() -> None:
    assert not torch._dynamo.config.suppress_errors


def test_skipped_cuda_graphs_are_a_fallback() -> None:
    """Of the counter alone, as CUDA graphs need a device: one that was given up is remembered."""
    options = CompileSettings(decode=True, backend="cudagraphs")
    run_ = Pass(pb.PHASE_KV_DECODE, decode, options, cuda_graphs=True)
    window = PhaseWindow(run_)
    window.open()
    torch._dynamo.utils.counters["inductor"]["cudagraph_skips"] += 1
    window.close()
    assert not window.proven
    assert "1 CUDA graphs given up" in window.complaint
