"""What settings mean, and what is refused."""

from __future__ import annotations

import pytest

from phasebench_torch import worker_pb2 as pb
from phasebench_torch.errors import WorkerError
from phasebench_torch.settings import CompileSettings, parse


def wire(device: str = "cpu", dtype: str = "f32", threads: int | None = None, **options: str) -> pb.Settings:
    named = {f"compile.{key}": value for key, value in options.items()}
    return pb.Settings(device=device, dtype=dtype, threads=threads, options=named)


def test_absent_options_are_eager() -> None:
    found = parse(wire())
    assert found.compile == CompileSettings()
    assert not found.compile.any
    assert (found.threads, found.requested) == (None, "torch eager, cpu")


def test_every_option_is_read() -> None:
    found = parse(
        wire(
            "cuda:1",
            "bf16",
            2,
            prefill="true",
            decode="false",
            backend="inductor",
            mode="reduce-overhead",
            dynamic="false",
            buckets="16, 64",
            fullgraph="false",
            on_recompile="record",
            recompile_limit="3",
        )
    )
    assert found.compile == CompileSettings(
        prefill=True,
        decode=False,
        backend="inductor",
        mode="reduce-overhead",
        dynamic=False,
        buckets=(16, 64),
        fullgraph=False,
        record_recompiles=True,
        recompile_limit=3,
    )
    assert found.requested == "torch.compile inductor reduce-overhead prefill, cuda:1"


INVALID = [
    (wire(device="gpu"), "unknown device `gpu`: known are cpu, cuda, cuda:N"),
    (wire(dtype="f8"), "unknown dtype `f8`: known are f32, f16, bf16"),
    (wire(threads=0), "threads is 0: at least 1, or absent for the engine's default"),
    (wire(dynamic="yes"), "option compile.dynamic is `yes`: allowed are true, false, auto"),
    (wire(recompile_limit="0"), "option compile.recompile_limit is `0`: allowed are whole numbers from 1"),
    (wire(prefill="true", buckets="8,4"), "option compile.buckets is `8,4`: allowed are ascending"),
    (wire(decode="true", buckets="8"), "compile.prefill is not true"),
    (wire(prefill="true", backend="aot_eager", mode="max-autotune"), "is a preset of inductor, not of aot_eager"),
    (wire(prefil="true"), "unknown option `compile.prefil`: known are compile.backend, compile.buckets, "),
    (wire(mode="fast", dynamic="yes"), "compile.dynamic is `yes`: allowed are true, false, auto; option compile.mode"),
]


@pytest.mark.parametrize(("settings", "why"), INVALID)
def test_what_means_nothing_is_refused(settings: pb.Settings, why: str) -> None:
    with pytest.raises(WorkerError) as caught:
        parse(settings)
    assert caught.value.kind == pb.Error.INVALID
    assert why in caught.value.message


@pytest.mark.parametrize(("backend", "mode"), [("cudagraphs", "default"), ("inductor", "reduce-overhead")])
def test_cuda_graphs_need_a_device(backend: str, mode: str) -> None:
    with pytest.raises(WorkerError, match="needs a CUDA device") as caught:
        parse(wire(decode="true", backend=backend, mode=mode))
    assert caught.value.kind == pb.Error.UNSUPPORTED
    assert parse(wire("cuda", decode="true", backend=backend, mode=mode)).cuda_graphs


def test_the_environment_that_torch_heeds_is_told() -> None:
    from phasebench_torch import facts

    found = facts.environment(
        {
            "OMP_NUM_THREADS": "2",
            "GOMP_SPINCOUNT": "0",
            "TORCH_LOGS": "recompiles",
            "HOME": "/root",
            # Another in every run, and a fact already.
            "TORCHINDUCTOR_CACHE_DIR": "/a",
            "TRITON_CACHE_DIR": "/a/triton",
        }
    )
    assert found == {
        "environment.GOMP_SPINCOUNT": "0",
        "environment.OMP_NUM_THREADS": "2",
        "environment.TORCH_LOGS": "recompiles",
    }


def test_a_folder_that_no_code_may_run_from_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from phasebench_torch import facts, toolchain

    inductor = parse(wire(decode="true"))
    facts.check(inductor)
    real = os.statvfs(toolchain.code_folder())
    noexec = os.statvfs_result((*real[:8], real.f_flag | os.ST_NOEXEC, *real[9:]))
    monkeypatch.setattr(os, "statvfs", lambda _: noexec)
    with pytest.raises(WorkerError, match="mounted noexec") as caught:
        facts.check(inductor)
    assert caught.value.kind == pb.Error.UNSUPPORTED
    assert "TMPDIR" in caught.value.fix
    # Nothing is compiled there.
    facts.check(parse(wire(decode="true", backend="aot_eager")))
    facts.check(parse(wire()))
