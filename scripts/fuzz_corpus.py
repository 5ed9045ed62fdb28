#!/usr/bin/env python3
"""Keeps of many inputs the few that reach most: a target's corpus made again from what a fuzzer found.

    scripts/fuzz_corpus.py TARGET_PROGRAM FOLDER... --into fuzz/corpus/TARGET

Regressions stay: files whose names begin with `regression-`. Of the others, the input that reaches most that none
before it did comes next, up to 50 inputs of at most 4 KiB.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MOST_FILES = 50
LARGEST = 4096
REGRESSION = "regression-"


def reached(program: Path, inputs: list[Path]) -> dict[Path, set[int]]:
    """What each input reaches, as libFuzzer's merge writes it down."""
    with tempfile.TemporaryDirectory() as work:
        every, into, control = Path(work, "every"), Path(work, "into"), Path(work, "control")
        every.mkdir()
        into.mkdir()
        names = {}
        for path in inputs:
            name = every / hashlib.sha256(path.read_bytes()).hexdigest()
            shutil.copyfile(path, name)
            names[str(name)] = path
        command = [program, "-merge=1", f"-merge_control_file={control}", "-timeout=5", into, every]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr[-2000:])
        lines = control.read_text().splitlines()
    count = int(lines[0])
    order = lines[2 : 2 + count]
    features: dict[Path, set[int]] = {}
    for line in lines[2 + count :]:
        word, number, *found = line.split()
        if word == "FT":
            features[names[order[int(number)]]] = {int(feature) for feature in found}
    return features


def chosen(features: dict[Path, set[int]], most: int) -> list[Path]:
    """The inputs that reach most together, greedily; the smaller one where two reach as much."""
    left = dict(features)
    known: set[int] = set()
    found: list[Path] = []
    while left and len(found) < most:
        best = max(left, key=lambda path: (len(left[path] - known), -path.stat().st_size))
        if not left[best] - known:
            break
        known |= left.pop(best)
        found.append(best)
    print(f"{len(found)} of {len(features)} inputs reach {len(known)} of {len(set().union(*features.values()))}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--into", type=Path, required=True)
    args = parser.parse_args()
    paths = [path for folder in [args.into, *args.folders] for path in sorted(folder.iterdir())]
    regressions = [path for path in paths if path.name.startswith(REGRESSION)]
    others = [path for path in paths if path not in regressions and path.stat().st_size <= LARGEST]
    found = chosen(reached(args.program, others), MOST_FILES)
    contents = {name_of(path): path.read_bytes() for path in found + regressions}
    for path in args.into.iterdir():
        path.unlink()
    for name, content in contents.items():
        (args.into / name).write_bytes(content)


def name_of(path: Path) -> str:
    """A seed keeps its name; what a fuzzer found is named by its content."""
    is_found = len(path.name) == 40 and all(letter in "0123456789abcdef" for letter in path.name)
    return path.name[:12] if is_found else path.name


if __name__ == "__main__":
    main()
