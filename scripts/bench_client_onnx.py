#!/usr/bin/env python3
"""Our ONNX Runtime client against Python's, on the same graph, settings and prompt, in interleaved rounds.

A process that starts later can be faster by a tenth for all its life, because of where its memory happens to lie. So
the unit is a pair of blocks: in one all clients start in a random order, in the other in the reverse. In a block every
client is asked once per round, in random order, for one call: a short one that ends the idle gap, then a prefill and
the timed decode steps. A pair gives one ratio (ours / Python's median step); the ratio's interval is Student's t on the
pairs' logarithms. Pairs go on until its half-width is at most 2 % or the limit is reached. Python's client is tried in
two forms, and the verdict is against whichever is faster.
"""

import argparse
import json
import math
import random
import statistics
import subprocess
import sys
import time

SHAPES = [("25M", 3, 384, 2), ("100M", 8, 768, 2)]
FORMS = ["run_with_ort_values", "io_binding"]
HALF_WIDTH, GOAL, GOAL_OUTSIDE, GOAL_INSIDE = 0.02, 1.05, 100.0, 40.0
FEWEST_PAIRS, ROUNDS = 10, 4
# Two-sided 95 % quantiles of Student's t for 9 to 30 degrees of freedom, then in steps of ten.
T = [2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
     2.060, 2.056, 2.052, 2.048, 2.045, 2.042]


def t_quantile(freedom):
    if freedom <= 30:
        return T[freedom - 9]
    return 2.040 if freedom < 40 else 2.021 if freedom < 50 else 2.009 if freedom < 60 else 2.001


# --- Python's client, in a process of its own ---

def client(graph, form, prompt, steps, threads, entries):
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    ort.set_default_logger_severity(3)
    pasts = [i for i in session.get_inputs() if i.name.startswith("past_key_values.")]
    outputs = [o.name for o in session.get_outputs()]
    inside = outputs[0] == "next_token"
    value = ort.OrtValue.ortvalue_from_numpy
    empty = [value(np.zeros((1, p.shape[1], 0, p.shape[3]), np.float32)) for p in pasts]
    mask = np.ones((1, len(prompt) + steps), np.int64)

    def forward(ids, positions, total, past):
        feeds = {"input_ids": value(ids), "attention_mask": value(mask[:, :total]), "position_ids": value(positions)}
        feeds.update(zip([p.name for p in pasts], past))
        if form == "run_with_ort_values":
            results = session.run_with_ort_values(outputs, feeds)
        else:
            binding = session.io_binding()
            for name, feed in feeds.items():
                binding.bind_ortvalue_input(name, feed)
            for name in outputs:
                binding.bind_output(name)
            session.run_with_iobinding(binding)
            results = binding.get_outputs()
        first = results[0].numpy()
        return int(first[0, 0]) if inside else int(np.argmax(first)), results[1:]

    def decode(steps):
        ids = np.array([prompt], np.int64)
        positions = np.arange(len(prompt), dtype=np.int64)[None]
        begin = time.perf_counter_ns()
        token, past = forward(ids, positions, len(prompt), empty)
        ends, tokens = [time.perf_counter_ns()], [token]
        for step in range(steps):
            at = len(prompt) + step
            token, past = forward(np.array([[token]], np.int64), np.array([[at]], np.int64), at + 1, past)
            ends.append(time.perf_counter_ns())
            tokens.append(token)
        return {"prefill_ns": ends[0] - begin, "tokens": tokens,
                "median_step_ns": statistics.median(b - a for a, b in zip(ends, ends[1:]))}

    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        decode(4)
        print(json.dumps(decode(steps)), flush=True)


# --- the driver ---

class Process:
    def __init__(self, command, environment=None):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.ready = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args[0]} ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, request="run"):
        self.process.stdin.write(f"{request}\n")
        self.process.stdin.flush()
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def ratio(logs, form):
    """Geometric mean of the pairs' ratios, and the half-width of its interval on the logarithm."""
    differences = [pair["ours"] - pair[form] for pair in logs]
    half = t_quantile(len(logs) - 1) * statistics.stdev(differences) / math.sqrt(len(logs))
    return math.exp(statistics.fmean(differences)), half


def faster(logs):
    return min(FORMS, key=lambda form: statistics.fmean(pair[form] for pair in logs))


def block(commands, order, rng, outside):
    """Median step of every client, in ns, all started in this order."""
    clients = {name: Process(commands[name]) for name in order}
    for process in clients.values():
        process.ask()
    steps = {name: [] for name in clients}
    for _ in range(ROUNDS):
        answers = {name: clients[name].ask() for name in rng.sample(order, len(order))}
        if len({tuple(answer["tokens"]) for answer in answers.values()}) != 1:
            sys.exit("the clients chose different tokens: they do not run the same thing")
        for name, answer in answers.items():
            steps[name].append(answer["median_step_ns"])
        outside.append(answers["ours"]["median_outside_ns"] / 1e3)
    for process in clients.values():
        process.close()
    return {name: statistics.median(values) for name, values in steps.items()}


def compare(binary, shape, inside, arguments, rng):
    _, n_layer, n_embd, n_head = shape
    ours = [binary, "--n-layer", str(n_layer), "--n-embd", str(n_embd), "--n-head", str(n_head),
            "--threads", str(arguments.threads), "--steps", str(arguments.steps)] + ["--inside"] * inside
    first = Process(ours)
    first.close()
    entries = {key: value for key, value in first.ready["facts"].items() if key.startswith("session.")}
    commands = {"ours": ours}
    for form in FORMS:
        commands[form] = [sys.executable, __file__, "--client", json.dumps({
            "graph": first.ready["graph"], "form": form, "prompt": first.ready["prompt"], "steps": arguments.steps,
            "threads": arguments.threads, "entries": entries})]
    blocks, logs, outside = [], [], []
    while len(logs) < arguments.pairs:
        order = rng.sample(sorted(commands), len(commands))
        pair = [block(commands, order, rng, outside), block(commands, order[::-1], rng, outside)]
        blocks += pair
        logs.append({name: statistics.fmean(math.log(steps[name]) for steps in pair) for name in commands})
        if len(logs) >= FEWEST_PAIRS and ratio(logs, faster(logs))[1] <= HALF_WIDTH:
            break
    return blocks, logs, outside


def report(shape, inside, blocks, logs, outside):
    best = faster(logs)
    point, half = ratio(logs, best)
    low, high = point * math.exp(-half), point * math.exp(half)
    verdict = f"≤ {GOAL}" if high <= GOAL else f"> {GOAL}" if low > GOAL else "not resolved"
    goal = GOAL_INSIDE if inside else GOAL_OUTSIDE
    gap = statistics.median(outside)
    cells = [
        f"{shape[0]} ({shape[1]}, {shape[2]}, {shape[3]})",
        "inside" if inside else "outside",
        f"{gap:.0f} ({'≤' if gap <= goal else '>'} {goal:.0f})",
        *(f"{statistics.median(steps[name] for steps in blocks) / 1e6:.2f}" for name in ["ours", *FORMS]),
        best,
        f"{point:.3f} ({low:.3f} to {high:.3f})",
        str(len(blocks)),
        verdict,
    ]
    print("|", " | ".join(cells), "|", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    names = [shape[0] for shape in SHAPES]
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    parser.add_argument("--arg-max", nargs="+", choices=["outside", "inside"], default=["outside", "inside"])
    arguments = parser.parse_args()
    if arguments.pairs < FEWEST_PAIRS:
        parser.error(f"--pairs must be at least {FEWEST_PAIRS}")
    rng = random.Random(arguments.seed)
    print(f"Decode of a synthetic GPT-2: {arguments.threads} threads, 17 prompt tokens, {arguments.steps} steps, "
          f"seed {arguments.seed}. Ratio: ours ÷ the faster Python form, with its 95 % interval.\n")
    print("| model (layers, width, heads) | arg-max | outside Run, µs/step | ours, ms/step "
          f"| Python {FORMS[0]} | Python {FORMS[1]} | faster form | ratio | blocks | goal |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for shape in [shape for shape in SHAPES if shape[0] in arguments.models]:
        for inside in [place == "inside" for place in arguments.arg_max]:
            report(shape, inside, *compare(arguments.binary, shape, inside, arguments, rng))


if __name__ == "__main__":
    if sys.argv[1] == "--client":
        client(**json.loads(sys.argv[2]))
    else:
        main()
