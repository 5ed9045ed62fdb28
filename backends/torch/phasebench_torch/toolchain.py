"""What inductor needs of the machine, tried before a model is loaded: a C++ compiler, and a place to run code from."""

from __future__ import annotations

import functools
import os
import subprocess
import sysconfig
from dataclasses import dataclass

from .errors import unsupported

_FIX = "install g++ and the Python headers (on Debian: apt-get install g++ python3-dev)"
_PROBE = "#include <Python.h>\n#include <vector>\nint main() { return std::vector<int>().size(); }\n"
_SECONDS = 60


@dataclass(frozen=True)
class CxxCompiler:
    """A compiler that compiled a program with the Python headers."""

    command: str
    version: str
    """First line of what `--version` prints."""


@functools.cache
def cxx_compiler() -> CxxCompiler:
    """Finds the compiler as inductor does and compiles a small program with it; done once, if it works.

    Raises:
        WorkerError: UNSUPPORTED, with the compiler's words.
    """
    from torch._inductor import cpp_builder, exc

    try:
        command = str(cpp_builder.get_cpp_compiler())
    except exc.InvalidCxxCompiler as error:
        searched = os.environ.get("CXX") or "g++"
        raise unsupported(f"inductor found no C++ compiler (searched: {searched}): {error}", fix=_FIX) from error
    include = sysconfig.get_paths()["include"]
    done = _run([command, "-fsyntax-only", "-x", "c++", f"-I{include}", "-"], _PROBE)
    if done.returncode != 0:
        raise unsupported(f"{command} cannot compile a program with Python.h: {done.stderr.strip()}", fix=_FIX)
    lines = _run([command, "--version"], "").stdout.splitlines()
    return CxxCompiler(command, lines[0] if lines else "")


def code_folder() -> str:
    """The folder that compiled code is mapped from.

    Raises:
        WorkerError: UNSUPPORTED, nothing there may be run.
    """
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    folder = str(cache_dir())
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        raise unsupported(
            f"inductor runs code from {folder}, and its file system is mounted noexec",
            fix="set TMPDIR to a folder on a file system that allows exec",
        )
    return folder


def _run(command: list[str], text: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise unsupported(f"cannot run {command[0]}: {error}", fix=_FIX) from error
