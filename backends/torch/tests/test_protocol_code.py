"""The generated code in the package is what the protocol generates."""

from __future__ import annotations

from pathlib import Path

import pytest

from phasebench_torch import generate_protocol


def test_the_generated_code_is_the_protocols(tmp_path: Path) -> None:
    generate_protocol.generate(tmp_path)
    package = Path(generate_protocol.__file__).parent
    for name in generate_protocol.GENERATED:
        assert (tmp_path / name).read_text() == (package / name).read_text(), name


def test_a_broken_protocol_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.proto"
    broken.write_text('syntax = "proto3"; message M { string a = 1 }')
    monkeypatch.setattr(generate_protocol, "PROTO", broken)
    with pytest.raises(RuntimeError, match="protoc ended with status 1"):
        generate_protocol.generate(tmp_path)
