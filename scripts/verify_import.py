#!/usr/bin/env python3
"""Computes the figures of imported files again, and compares them with what the program makes of the same files.

    scripts/verify_import.py PHASEBENCH FOLDER

Shares no code with the program: every format is read anew, from each tool's own description. For each file in
FOLDER and below that is known here by its name, `phasebench import` and `analyze` make tables in a temporary folder;
counts, failures, medians, means, standard deviations, 95th and 99th percentiles (type 7), smallest, largest and time
per token of every cell and mode must agree to 1e-9 of their size. Times are whole nanoseconds in a record, so they
are rounded here as well; a rounded time is within half a nanosecond of the file's. Exits with 1 if a figure differs,
or is on one side only.
"""

import csv
import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TOLERANCE = 1e-9


class Cell:
    """Samples in whole nanoseconds by mode, with the positions that a time is divided by, and failures."""

    def __init__(self):
        self.times, self.positions, self.failed = {}, {}, 0

    def add(self, mode, ns, positions=None):
        whole = math.floor(ns + 0.5)
        assert abs(whole - ns) <= 0.5
        self.times.setdefault(mode, []).append(whole)
        self.positions.setdefault(mode, []).append(positions)


def request(cell, ttft_ns, after_ns, tokens):
    """A streamed request: first token, the rest over the tokens less one, and both together."""
    cell.add("ttft", ttft_ns)
    if after_ns > 0:
        steps = tokens - 1 if tokens and tokens > 1 else None
        cell.add("after_first_token", after_ns, steps)
        cell.add("request", math.floor(ttft_ns + 0.5) + math.floor(after_ns + 0.5))


def llama_bench(text):
    rows = (
        json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines() if line]
    )
    cells = {}
    for number, row in enumerate(rows):
        cell = cells[number] = Cell()
        prompt, steps = row["n_prompt"], row["n_gen"]
        mode = "prefill" if not steps else "kv_decode" if not prompt else "whole"
        positions = {"prefill": prompt, "kv_decode": steps, "whole": None}[mode]
        for ns in row["samples_ns"]:
            cell.add(mode, ns, positions)
    return list(cells.values())


def vllm(text):
    file, cell = json.loads(text), Cell()
    if "elapsed_time" in file:
        cell.add("whole", file["elapsed_time"] * 1e9)
    elif "ttfts" in file:
        lists = zip(file["ttfts"], file["latencies"], file["output_lens"], file["errors"], strict=True)
        for ttft, latency, tokens, error in lists:
            if error or ttft == 0.0:
                cell.failed += 1
            else:
                request(cell, ttft * 1e9, math.floor(latency * 1e9 + 0.5) - math.floor(ttft * 1e9 + 0.5), tokens)
    else:
        for latency in file["latencies"]:
            cell.add("whole", latency * 1e9)
    return [cell]


def sglang(text):
    cells = {}
    for line in text.splitlines():
        run = json.loads(line)
        asked = [run.get(f"random_{name}") for name in ("input_len", "output_len", "range_ratio")]
        cell = cells.setdefault((run["dataset_name"], *asked), Cell())
        for ttft, gaps, tokens, error in zip(run["ttfts"], run["itls"], run["output_lens"], run["errors"], strict=True):
            if error or ttft == 0.0:
                cell.failed += 1
                continue
            total = 0.0
            for gap in gaps:
                total += gap
            request(cell, ttft * 1e9, total * 1e9, tokens)
    return list(cells.values())


def guidellm(text):
    cells = []
    for benchmark in json.loads(text)["benchmarks"]:
        cell, requests = Cell(), benchmark["requests"]
        for one in requests["successful"]:
            steps = one["output_tokens"] - 1
            request(cell, one["time_to_first_token_ms"] * 1e6, one["inter_token_latency_ms"] * steps * 1e6, steps + 1)
        cell.failed = len(requests["errored"]) + len(requests["incomplete"])
        cells.append(cell)
    return cells


def aiperf(text):
    cell, units = Cell(), {"ns": 1.0, "us": 1e3, "ms": 1e6, "sec": 1e9}
    for line in text.splitlines():
        record = json.loads(line)
        if record["error"]:
            cell.failed += 1
            continue
        ns = {name: one["value"] * units.get(one["unit"], 1.0) for name, one in record["metrics"].items()}
        ttft, latency = (math.floor(ns[name] + 0.5) for name in ("time_to_first_token", "request_latency"))
        request(cell, ttft, latency - ttft, int(ns["output_sequence_length"]))
    return [cell]


def genai_perf(text):
    cells = []
    for experiment in json.loads(text)["experiments"]:
        cell = Cell()
        for one in experiment["requests"]:
            times = [float(time) for time in one["response_timestamps"]]
            request(cell, math.floor(times[0] - float(one["timestamp"])), math.floor(times[-1] - times[0]), None)
        cells.append(cell)
    return cells


def ollama(text):
    cells = {}
    for line in text.splitlines():
        found = re.match(r"BenchmarkModel/name=(\S+)/step=(\S+) (\d+) ([\d.]+) ", line)
        name, step, count, each = found[1], found[2], int(found[3]), float(found[4])
        mode = {"prefill": "prefill", "generate": "kv_decode", "total": "whole"}.get(step)
        if mode:
            positions = {"prefill": count, "kv_decode": count - 1, "whole": None}[mode]
            time = each * count if mode != "whole" else each
            cells.setdefault((name, step), Cell()).add(mode, time, positions)
    return [cells[key] for key in sorted(cells)]


def go(text):
    cells, package = {}, None
    for line in text.splitlines():
        if line.startswith("pkg:"):
            package = line.removeprefix("pkg:").strip()
        elif line.startswith("Benchmark"):
            words = line.split()
            cells.setdefault((package, words[0]), Cell()).add("whole", float(words[2]))
    return list(cells.values())


def plain(text):
    cells = {}
    for row in csv.DictReader(line for line in text.splitlines() if not line.startswith("#")):
        cell = cells.setdefault((row["model"], row["mode"]), Cell())
        if row["status"] != "ok":
            cell.failed += 1
        else:
            positions = int(row["prompt_tokens"] if row["mode"] == "prefill" else row["gen_tokens"])
            cell.add(row["mode"], float(row["latency_ms"]) * 1e6, positions)
    return [cells[key] for key in sorted(cells, reverse=True)]


READERS = [
    ("llama-bench/*.json", llama_bench),
    ("llama-bench/*.jsonl", llama_bench),
    ("vllm/*.json", vllm),
    ("documented/sglang.jsonl", sglang),
    ("documented/guidellm.json", guidellm),
    ("documented/aiperf.jsonl", aiperf),
    ("documented/genai-perf.json", genai_perf),
    ("documented/ollama.bench", ollama),
    ("documented/go.txt", go),
    ("documented/plain.csv", plain),
]


def quantile(values, p):
    """Type 7, as NumPy's default."""
    ordered = sorted(values)
    at = (len(ordered) - 1) * p
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def expected(times, positions):
    ms = [ns / 1e6 for ns in times]
    n, mean = len(ms), math.fsum(ms) / len(ms)
    figures = {"n": n, "median_ms": quantile(ms, 0.5), "mean_ms": mean, "min_ms": min(ms), "max_ms": max(ms)}
    figures["sd_ms"] = math.sqrt(math.fsum((x - mean) ** 2 for x in ms) / (n - 1)) if n > 1 else None
    figures["p95_ms"] = quantile(ms, 0.95) if n >= 20 else None
    figures["p99_ms"] = quantile(ms, 0.99) if n >= 100 else None
    known = [time / count for time, count in zip(ms, positions, strict=True) if count]
    figures["ms_per_token"] = quantile(known, 0.5) if known else None
    return figures


def key(figures):
    return (figures["n"], figures["n_degraded"], round(figures["median_ms"], 6))


def compare(program, path, reader, work):
    """Differences between the program's tables and figures made here, and how many agree."""
    run = work / "run"
    for command in (["import", str(path), "--out", str(run)], ["analyze", str(run)]):
        subprocess.run([program, *command], check=True, capture_output=True)
    with open(run / "analysis/summary_by_model_backend_mode.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        figures = {
            name: float(row[name]) if row[name] else None
            for name in row
            if name.endswith("_ms") or name == "ms_per_token"
        }
        figures |= {"n": int(row["n"]), "n_degraded": int(row["n_degraded"])}
        found.setdefault(row["mode"], []).append(figures)
    wanted = {}
    for cell in reader(path.read_text()):
        for mode, times in cell.times.items():
            figures = expected(times, cell.positions[mode]) | {"n_degraded": cell.failed}
            wanted.setdefault(mode, []).append(figures)
    wrong, agreed = [], 0
    if {mode: len(all) for mode, all in found.items()} != {mode: len(all) for mode, all in wanted.items()}:
        return [f"{path.name}: other cells and modes: {sorted(found)} and {sorted(wanted)}"], 0
    for mode, cells in wanted.items():
        for ours, theirs in zip(sorted(cells, key=key), sorted(found[mode], key=key), strict=True):
            for name, value in ours.items():
                other = theirs[name]
                same = value is other or (
                    value is not None
                    and other is not None
                    and abs(value - other) <= TOLERANCE * max(abs(value), abs(other))
                )
                agreed += same
                if not same:
                    wrong.append(f"{path.name}: {mode} {name}: {other}, here {value}")
    return wrong, agreed


def main():
    program, folder = sys.argv[1], Path(sys.argv[2])
    wrong, agreed, files = [], 0, 0
    for pattern, reader in READERS:
        paths = sorted(path for path in folder.glob(pattern) if not path.name.startswith("error-"))
        if not paths:
            wrong.append(f"{pattern}: no such file in {folder}")
        for path in paths:
            with tempfile.TemporaryDirectory() as work:
                problems, same = compare(program, path, reader, Path(work))
            wrong, agreed, files = wrong + problems, agreed + same, files + 1
    for line in wrong:
        print(line)
    print(f"{agreed} figures of {files} imported files agree, {len(wrong)} do not")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
