#!/usr/bin/env python3
"""What recording power every 20 ms beside a decode costs it, on a driver library whose board is scripted.

One process decodes all the time; in a pair of blocks its power sampler works in one and rests in the other, in random
order. A pair gives one ratio of the blocks' median steps; the ratio's interval is Student's t on the pairs' logarithms.
The process is started anew now and then, because one can be faster than another of its kind for all its life.
"""

import argparse
import math
import os
import pathlib
import random
import statistics
import tempfile

from bench_client_onnx import Process
from bench_client_worker import interval, verdict

SHAPE = ["--n-layer", "3", "--n-embd", "384", "--n-head", "2"]
CALLS, PAIRS_OF_A_PROCESS, FEWEST_PAIRS, HALF_WIDTH = 6, 10, 20, 0.01
LARGEST_SLOWDOWN, LARGEST_LOAD, LEAST_TICKS, LARGEST_LATENESS_MS = 1.03, 0.005, 0.99, 5


def scripted_board(folder):
    """An environment in which the driver library is the tests' own, with a board that draws 200 W."""
    for name in ("libnvidia-ml.so", "libnvidia-ml.so.1"):
        (folder / name).symlink_to(os.environ["PHASEBENCH_FAKE_NVML"])
    (folder / "load").write_text("0 200\n")
    (folder / "board").write_text(f"load = file\nload_file = {folder / 'load'}\n")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH")]))
    return os.environ | {"LD_LIBRARY_PATH": path, "FAKE_NVML": str(folder / "board")}


def block(process, recorded, told):
    """Median step of a block's calls, in ns."""
    if recorded and process.ask("record")["sensors"] != 1:
        raise SystemExit("the scripted board was not found")
    steps = statistics.median(process.ask()["mean_step_ns"] for _ in range(CALLS))
    if recorded:
        told.append(process.ask("rest"))
    return steps


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.pairs < FEWEST_PAIRS:
        parser.error(f"--pairs must be at least {FEWEST_PAIRS}")
    print(f"ONNX Runtime's decode with power recorded every 20 ms against without, on a scripted board: GPT-2 of 25M "
          f"parameters, {arguments.steps} steps, {arguments.threads} threads, {CALLS} calls a block.\n")
    rng = random.Random(arguments.seed)
    command = [arguments.binary, *SHAPE, "--threads", str(arguments.threads), "--steps", str(arguments.steps)]
    logs, told, process = [], [], None
    with tempfile.TemporaryDirectory() as folder:
        environment = scripted_board(pathlib.Path(folder))
        while len(logs) < arguments.pairs:
            if len(logs) % PAIRS_OF_A_PROCESS == 0:
                if process:
                    process.close()
                process = Process(command, environment)
                process.ask()
            step = {recorded: block(process, recorded, told) for recorded in rng.sample([False, True], 2)}
            logs.append(math.log(step[True] / step[False]))
            if len(logs) >= FEWEST_PAIRS and interval(logs)[1] <= HALF_WIDTH:
                break
        process.close()
    report(logs, told)


def report(logs, told):
    mean, half = interval(logs)
    low, high = math.exp(mean - half), math.exp(mean + half)
    load = sum(one["thread_cpu_ns"] for one in told) / sum(one["duration_ns"] for one in told)
    taken = sum(one["ticks_taken"] for one in told) / sum(one["ticks_due"] for one in told)
    late = statistics.median(one["lateness_p99_ns"] / 1e6 for one in told)

    def row(what, value, met, goal):
        print(f"| {what} | {value} | {len(logs)} | {goal if met else f'not {goal}'} |")

    print("| what | found | pairs | goal |\n|---|---|---|---|")
    judged = verdict(low, high, LARGEST_SLOWDOWN)
    print(f"| decode, recorded ÷ not | {math.exp(mean):.3f} ({low:.3f} to {high:.3f}) | {len(logs)} | {judged} |")
    row("sampler's processor time, % of a core", f"{load * 100:.2f}", load <= LARGEST_LOAD, f"≤ {LARGEST_LOAD * 100:g}")
    row("ticks taken, %", f"{taken * 100:.2f}", taken >= LEAST_TICKS, f"≥ {LEAST_TICKS * 100:g}")
    row("lateness, 99th percentile, ms", f"{late:.2f}", late <= LARGEST_LATENESS_MS, f"≤ {LARGEST_LATENESS_MS:g}")


if __name__ == "__main__":
    main()
