"""The log-probabilities are the reference's, in every pass, family and way to run."""

from __future__ import annotations

import json

import pytest
import torch

from .conftest import FAMILIES, call, folder, load, run, warm

BUCKET = 64


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "inductor"])
@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_are_the_references(family: str, compiled: bool) -> None:
    options = {"prefill": "true", "decode": "true", "buckets": str(BUCKET)} if compiled else {}
    engine = load(family, longest=96, **options)
    if compiled:
        made = warm(engine, 1, BUCKET)
        assert not made.HasField("error"), made.error
        assert [phase.unique_graphs for phase in made.phases] == [1, 1]
    cases = json.loads((folder(family) / "reference.json").read_text())
    for case in cases:
        steps = case["steps"]
        reply, seen = run(engine, call(case["prompt_ids"], steps=len(steps) - 1))
        assert not reply.HasField("error"), reply.error
        assert reply.attribution.actual == ("torch.compile inductor, cpu" if compiled else "torch eager, cpu")
        assert list(reply.tokens[0].ids) == [step["token"] for step in steps]
        for step, found in zip(steps, seen, strict=True):
            expected = torch.tensor(step["top_logprobs"])
            torch.testing.assert_close(found[0, step["top_ids"]], expected, rtol=0, atol=1e-4)
    engine.close()
