"""What differs between versions of torch: looked for, told, and never stood in for."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from phasebench_torch import abilities, facts
from phasebench_torch import worker_pb2 as pb
from phasebench_torch.errors import WorkerError
from phasebench_torch.settings import parse


def settings(**options: str) -> pb.Settings:
    return pb.Settings(device="cpu", dtype="f32", options={f"compile.{key}": value for key, value in options.items()})


def test_what_is_lacking_is_named() -> None:
    found = abilities.abilities()
    assert found.stance
    assert dataclasses.replace(found, stance=False).lacking.startswith("stance")
    whole = abilities.Abilities(True, True, True, True)
    assert whole.lacking == "nothing"


def test_without_a_stance_recompiles_can_only_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    older = abilities.Abilities(
        stance=False, recompile_limit=False, recompile_reasons=False, cudagraph_skip_reasons=False
    )
    monkeypatch.setattr(facts, "abilities", lambda: older)
    with pytest.raises(WorkerError, match="cannot refuse to recompile") as refused:
        facts.check(parse(settings(prefill="true", backend="aot_eager")))
    assert refused.value.kind == pb.Error.UNSUPPORTED
    assert "on_recompile: record" in refused.value.fix
    facts.check(parse(settings(prefill="true", backend="aot_eager", on_recompile="record")))
    with pytest.raises(WorkerError, match="no limit of compilations"):
        facts.check(parse(settings(prefill="true", backend="aot_eager", on_recompile="record", recompile_limit="2")))


def test_a_torch_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, enough in [("2.6.0+cu124", True), ("2.10.0", True), ("2.5.1+cpu", False), ("1.13.1", False)]:
        monkeypatch.setattr(torch, "__version__", version)
        assert abilities.is_new_enough() == enough, version
    with pytest.raises(WorkerError, match=r"torch is 1\.13\.1, and the worker needs 2\.6 or newer"):
        facts.check(parse(settings()))


def test_recompiles_are_counted_without_reasons_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert abilities.recompiled(SimpleNamespace(recompile_reason="a guard failed"))
    assert not abilities.recompiled(SimpleNamespace(recompile_reason=None))
    older = dataclasses.replace(abilities.abilities(), recompile_reasons=False)
    monkeypatch.setattr(abilities, "abilities", lambda: older)
    for number, again in [("0/0", False), ("3/0", False), ("0/1", True), ("2/1_1", True), (None, False)]:
        assert abilities.recompiled(SimpleNamespace(compile_id=number)) == again, number
