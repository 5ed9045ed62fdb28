"""On a CUDA device, where there is one: the reference's log-probabilities, and the device's events beside the clock."""

from __future__ import annotations

import json

import pytest
import torch

from phasebench_torch import worker_pb2 as pb
from phasebench_torch.engine import Engine
from phasebench_torch.settings import parse
from phasebench_torch.weights import inspect

from .conftest import FAMILIES, call, folder, run, warm

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
BUCKET = 64


def load(family: str = "gpt2", **options: str) -> Engine:
    named = {f"compile.{key}": value for key, value in options.items()}
    settings = parse(pb.Settings(device="cuda:0", dtype="f32", options=named))
    return Engine(inspect(str(folder(family))), settings, longest_sequence=96)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "inductor"])
@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_are_the_references(family: str, compiled: bool) -> None:
    options = {"prefill": "true", "decode": "true", "buckets": str(BUCKET)} if compiled else {}
    engine = load(family, **options)
    if compiled:
        made = warm(engine, 1, BUCKET)
        assert not made.HasField("error"), made.error
    for case in json.loads((folder(family) / "reference.json").read_text()):
        steps = case["steps"]
        reply, seen = run(engine, call(case["prompt_ids"], steps=len(steps) - 1))
        assert not reply.HasField("error"), reply.error
        assert reply.attribution.actual == ("torch.compile inductor, cuda:0" if compiled else "torch eager, cuda:0")
        for step, found in zip(steps, seen, strict=True):
            expected = torch.tensor(step["top_logprobs"])
            # Sums in another order than on the host that the reference is from.
            torch.testing.assert_close(found[0, step["top_ids"]].cpu(), expected, rtol=0, atol=1e-3)
    engine.close()


def test_everything_lies_on_the_device_and_its_events_are_inside_the_spans() -> None:
    engine = load()
    reply, _ = run(engine, call([1, 2, 3], steps=8))
    assert not reply.HasField("error"), reply.error
    for what in ("parameters.device", "cache.device", "logits.device"):
        assert reply.attribution.evidence[what] == "cuda:0"
    walls = [span.end_ns - span.begin_ns for span in reply.spans]
    devices = [span.device_ns for span in reply.spans]
    assert all(span.HasField("device_ns") for span in reply.spans)
    # Events are read in steps of half a microsecond.
    assert all(0 < device <= wall + 1000 for device, wall in zip(devices, walls, strict=True))
    gap = sum(max(wall - device, 0) for device, wall in zip(devices, walls, strict=True))
    assert reply.durations_ns["cuda_event_gap"] == gap
    assert reply.memory.device_used_bytes > 0
    engine.close()


@pytest.mark.parametrize(
    "options", [{"backend": "cudagraphs"}, {"mode": "reduce-overhead"}], ids=["cudagraphs", "reduce-overhead"]
)
def test_cuda_graphs_run_or_are_told_as_given_up(options: dict[str, str]) -> None:
    plain = load()
    expected, _ = run(plain, call([1, 2, 3], steps=4))
    plain.close()
    engine = load(decode="true", **options)
    made = warm(engine, 1, 3)
    reply, _ = run(engine, call([1, 2, 3], steps=4))
    assert list(reply.tokens) == list(expected.tokens)
    if engine.passes.decode.graphs_skipped:
        assert (made.error.kind, reply.error.kind) == (pb.Error.FALLBACK, pb.Error.FALLBACK)
        assert not reply.attribution.HasField("actual")
    else:
        assert not made.HasField("error"), made.error
        assert not reply.HasField("error"), reply.error
        assert reply.attribution.HasField("actual")
    engine.close()
