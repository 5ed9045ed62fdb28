"""What benchmarks of commands on run folders share: models of different sizes, and what a command takes."""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path


def program(text):
    """A program as it was named: a path, or a name that is looked for in PATH and here."""
    found = shutil.which(text) or shutil.which(f"./{text}")
    if found is None:
        raise argparse.ArgumentTypeError(f"{text}: no such program")
    return Path(found).absolute()


def models_text(count):
    """The models of a scenario file, of different sizes, line by line."""
    return [
        f"  - {{ name: m{place}, synthetic: {{ family: gpt2, n_layer: {1 + place % 6}, "
        f"n_embd: {8 * (place + 1)}, n_head: 2 }} }}"
        for place in range(count)
    ]


def measured(command, log, allowed=(0,)):
    """Seconds, processor seconds and MiB of a command; ends the program where it fails."""
    begin = time.monotonic()
    with open(log, "wb") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - begin
    if child.returncode not in allowed:
        sys.exit(f"{' '.join(map(str, command))} ended with {child.returncode}:\n{Path(log).read_text()[-2000:]}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
