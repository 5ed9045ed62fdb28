#!/usr/bin/env python3
"""What the worker protocol adds to an engine's own time, from runs of the program itself.

Every run is one block: a fresh process of ours, fresh workers, every session loaded in an order that the seed decides,
then rounds in which each session makes one call, in random order. A process can be faster than another of its kind for
all its life, because of where its memory happens to lie; so the unit of every interval is a run, not a call.

worker: wall minus the phases that the worker timed, per call, for our own worker and, where it is set up, for torch.
isolation: the same engine in a worker and in our process. The rise of wall minus phases, and the ratio of the decode
time per token, each with its 95 % interval (Student's t over the runs).
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from bench_client_onnx import t_quantile

SHAPE = "{ family: gpt2, n_layer: 3, n_embd: 384, n_head: 2 }"
LARGEST_REST_MS, LARGEST_RISE_MS, LARGEST_RATIO = 1.5, 1.5, 1.05
FEWEST_RUNS, HALF_WIDTH = 10, 0.02


def scenario(backends, arguments, seed):
    return f"""version: 1
name: bench-client
seed: {seed}
order: interleaved
warmups: 2
disturbed: {{ retry: 0, wait_quiet: 0s }}
repetitions: {{ fixed: {arguments.rounds} }}
gen_tokens: [{arguments.tokens}]
timeout: 120s
scenarios: [{{ name: p, prompt: {{ tokens: 17 }} }}]
models: [{{ name: 25m, synthetic: {SHAPE} }}]
backends: [{", ".join(backends)}]
"""


def calls(binary, backends, arguments, seed):
    """The timed calls of one run, by backend: wall, phases, decode per token, all in ms."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "scenario.yaml").write_text(scenario(backends, arguments, seed))
        command = [binary, "run", str(folder / "scenario.yaml"), "--out", str(folder / "run")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lines = (folder / "run" / "measurements.jsonl").read_text().splitlines()
    found = {}
    for call in (line["call"] for line in map(json.loads, lines) if "call" in line):
        if call["role"] != "timed":
            continue
        if call["status"] != "ok":
            sys.exit(f"a call of {call['session']['backend']} is {call['status']}: {call['detail']}")
        spans = {span["phase"]: (span["end_ns"] - span["begin_ns"]) / 1e6 for span in call["spans"]}
        steps = call["tokens"]["decode_steps_timed"]
        found.setdefault(call["session"]["backend"], []).append(
            (call["total_wall_ns"] / 1e6, sum(spans.values()), spans["kv_decode"] / steps))
    return found


def interval(values):
    """Mean and half-width of its 95 % interval."""
    half = t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), half


def verdict(low, high, goal):
    return f"≤ {goal:g}" if high <= goal else f"> {goal:g}" if low > goal else "not resolved"


def torch_is_set_up():
    cache = os.environ.get("PHASEBENCH_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "phasebench")
    return os.path.exists(os.path.join(cache, "torch", "selected.json"))


def worker(binary, arguments):
    threads = f"threads: {arguments.threads}"
    backends = [f"{{ name: onnx, onnx: {{ provider: cpu, {threads}, isolation: process }} }}"]
    if torch_is_set_up():
        backends.append(f"{{ name: torch-eager, torch: {{ {threads} }} }}")
    else:
        print("torch is not set up (phasebench setup torch), so it is left out.\n")
    print(f"GPT-2 of 25M parameters, 17 prompt tokens, {arguments.tokens} steps, {threads}. Goal for the median: "
          f"{LARGEST_REST_MS} ms.\n")
    print("| worker | wall, ms | phases, ms | wall − phases, ms: median | 95th percentile | largest | phases ≤ wall "
          "| calls | goal |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    found = {}
    for run in range(arguments.runs):
        for name, made in calls(binary, backends, arguments, arguments.seed + run).items():
            found.setdefault(name, []).extend(made)
    for name, made in found.items():
        rests = sorted(wall - phases for wall, phases, _ in made)
        median, tail = statistics.median(rests), rests[math.ceil(0.95 * len(rests)) - 1]
        cells = [name, *(f"{statistics.median(part):.2f}" for part in list(zip(*made))[:2]), f"{median:.2f}",
                 f"{tail:.2f}", f"{rests[-1]:.2f}", f"{sum(rest >= 0 for rest in rests)} of {len(rests)}",
                 str(len(made)), "≤" if median <= LARGEST_REST_MS else ">"]
        print("|", " | ".join(cells), "|", flush=True)


def isolation(binary, arguments):
    if arguments.runs < FEWEST_RUNS:
        sys.exit(f"--runs must be at least {FEWEST_RUNS}: the interval is over runs")
    onnx = f"provider: cpu, threads: {arguments.threads}"
    backends = [f"{{ name: inside, onnx: {{ {onnx} }} }}",
                f"{{ name: outside, onnx: {{ {onnx}, isolation: process }} }}"]
    print(f"ONNX Runtime in a process of its own against the same in ours: GPT-2 of 25M parameters, 17 prompt tokens, "
          f"{arguments.tokens} steps, {arguments.threads} threads, {arguments.rounds} rounds a run.\n")
    rises, ratios, rests = [], [], {"inside": [], "outside": []}
    for run in range(arguments.runs):
        found = calls(binary, backends, arguments, arguments.seed + run)
        rest = {name: statistics.median(wall - phases for wall, phases, _ in made) for name, made in found.items()}
        step = {name: statistics.median(decode for _, _, decode in made) for name, made in found.items()}
        for name, value in rest.items():
            rests[name].append(value)
        rises.append(rest["outside"] - rest["inside"])
        ratios.append(math.log(step["outside"] / step["inside"]))
        # Also where it is narrow: a run more costs less than a wrong verdict.
        if len(ratios) >= FEWEST_RUNS and interval(ratios)[1] <= HALF_WIDTH / 2:
            break
    rise, half = interval(rises)
    print("| what | in our process | in its own | difference or ratio | runs | goal |")
    print("|---|---|---|---|---|---|")
    inside, outside = (f"{statistics.median(rests[name]):.3f}" for name in ("inside", "outside"))
    print(f"| wall − phases, ms | {inside} | {outside} | {rise:+.3f} ({rise - half:+.3f} to {rise + half:+.3f}) "
          f"| {len(rises)} | {verdict(rise - half, rise + half, LARGEST_RISE_MS)} |")
    mean, half = interval(ratios)
    low, high = math.exp(mean - half), math.exp(mean + half)
    ratio = f"{math.exp(mean):.3f}"
    judged = f"{len(ratios)} | {verdict(low, high, LARGEST_RATIO)}"
    print(f"| decode, ratio of ms per token | 1 | {ratio} | {ratio} ({low:.3f} to {high:.3f}) | {judged} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["worker", "isolation"])
    parser.add_argument("binary")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.runs = arguments.runs or {"worker": 5, "isolation": 30}[arguments.what]
    {"worker": worker, "isolation": isolation}[arguments.what](arguments.binary, arguments)


if __name__ == "__main__":
    main()
