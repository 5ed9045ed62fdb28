"""Clock, memory, weights and errors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch._dynamo import exc

from phasebench_torch import clock, memory
from phasebench_torch import worker_pb2 as pb
from phasebench_torch.errors import WorkerError, bounded, classify
from phasebench_torch.weights import inspect

from .conftest import FAMILIES, folder, load


def test_the_clock_is_the_kernels() -> None:
    assert clock.now() <= clock.now()
    source = clock.source()
    assert source.kind == pb.ClockSource.MONOTONIC
    assert len(source.boot_id) == 36


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("monotonic           0         0\nboottime            0         0\n", 0),
        ("monotonic        -100  500000000\nboottime 7 7\n", -99_500_000_000),
        ("1 2 3\n7 9 9\n", 2_000_000_003),
        ("", 0),
    ],
)
def test_a_time_namespaces_offset_is_read(text: str, offset: int) -> None:
    assert clock.namespace_offset(text) == offset


def test_memory_is_the_processes() -> None:
    assert memory.resident("Name:\tx\nVmHWM:\t    200 kB\nVmRSS:\t     100 kB\n") == (100 * 1024, 200 * 1024)
    assert memory.resident("Name:\tx\n") == (None, None)
    assert memory.resident("Name:\tx\nVmRSS:\t     100\n") == (None, None)
    memory.forget_peak()
    size = 64 << 20
    held = bytearray(os.urandom(1)) * size
    del held
    peak = memory.read("cpu")
    assert peak.host_peak_bytes >= peak.host_rss_bytes > 0
    assert not peak.HasField("device_used_bytes")
    memory.forget_peak()
    found = memory.read("cpu")
    assert found.host_peak_bytes <= peak.host_peak_bytes - size // 2, "a peak of before is told"


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_are_counted_as_torch_counts_them(family: str) -> None:
    found = inspect(str(folder(family)))
    engine = load(family)
    assert found.parameters == sum(parameter.numel() for parameter in engine.model.module.parameters())
    assert found.bytes("f16") * 2 == found.bytes("f32") == found.parameters * 4
    engine.close()


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    def refused(kind: pb.Error.Kind, why: str) -> None:
        with pytest.raises(WorkerError) as caught:
            inspect(str(tmp_path))
        assert caught.value.kind == kind
        assert why in caught.value.message

    refused(pb.Error.INVALID, "config.json: No such file")
    config = tmp_path / "config.json"
    config.write_text("{")
    refused(pb.Error.INVALID, "is not JSON")
    config.write_text(json.dumps({"model_type": "mamba"}))
    refused(pb.Error.UNSUPPORTED, "model_type is `mamba`: known are gpt2, llama, phi, qwen2")
    config.write_text(json.dumps({"model_type": "gpt2"}))
    refused(pb.Error.INVALID, "model.safetensors: No such file")
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    refused(pb.Error.INVALID, "is no safetensors header")
    (tmp_path / "model.safetensors").write_bytes((3).to_bytes(8, "little") + b"{}x")
    refused(pb.Error.INVALID, "has no safetensors header")


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    source = folder("llama")
    weights = load_file(source / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((source / "config.json").read_text())
    from phasebench_torch.engine import Engine
    from phasebench_torch.settings import parse

    from .conftest import settings

    with pytest.raises(WorkerError, match=r"model\.norm\.weight") as caught:
        Engine(inspect(str(tmp_path)), parse(settings()))
    assert caught.value.kind == pb.Error.INVALID


def test_long_messages_keep_both_ends() -> None:
    text = bounded("a" * 3000 + "b" * 3000, 4000)
    assert len(text) == 4000
    assert text.startswith("aaa")
    assert text.endswith("bbb")
    assert bounded("short", 4000) == "short"


def raised(outer: BaseException, cause: BaseException) -> BaseException:
    outer.__cause__ = cause
    return outer


@pytest.mark.parametrize(
    ("error", "kind", "usable"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), pb.Error.OOM, False),
        (MemoryError(), pb.Error.OOM, False),
        (raised(RuntimeError("compile worker failed"), MemoryError()), pb.Error.OOM, False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), pb.Error.INTERNAL, False),
        (exc.Unsupported("data-dependent branching"), pb.Error.COMPILE_FAILED, True),
        (exc.RecompileError("0/0: size mismatch"), pb.Error.RECOMPILE, True),
        (RuntimeError("shape '[2]' is invalid for input of size 3"), pb.Error.INTERNAL, True),
    ],
)
def test_errors_have_the_protocols_kinds(error: BaseException, kind: pb.Error.Kind, usable: bool) -> None:
    found = classify(error)
    assert (found.kind, found.session_usable) == (kind, usable)
    assert str(error) in found.message
