#!/usr/bin/env python3
"""Computes what a run costs again, from its raw record, and compares that with `phasebench cost --json`.

    scripts/verify_costs.py PHASEBENCH RUN PRICING WORKLOAD

Shares no code with the program: locations, request times between measured lengths, coverage, prices, workers, waiting,
months and break-even are written anew. Of the run it reads measurements.jsonl for times and proofs, plan.json for the
order of cells and manifest.json for the longest contexts; the workload must be a mix. Intervals are not computed again,
and energy is left out: the run must have recorded no power. Needs PyYAML. Exits with 1 if a figure differs by more than
1e-9 of its size, or is on one side only.
"""

import json
import math
import subprocess
import sys
from pathlib import Path

import yaml

TOLERANCE = 1e-9
BEYOND = 1.25
ENOUGH = 0.9
DECODES = ("kv_decode", "generate_uncached")
HOURS = 720.0
MONTH_S = HOURS * 3600.0


def last_tries(run):
    """Timed calls in order; of one that was made again the last try alone."""
    lines = map(json.loads, (run / "measurements.jsonl").read_text().splitlines())
    timed = [line["call"] for line in lines if "call" in line and line["call"]["role"] == "timed"]
    last = {(call["cell_id"], call["index"]): call.get("attempt", 0) for call in timed}
    return [call for call in timed if call.get("attempt", 0) == last[call["cell_id"], call["index"]]]


def cells(run):
    """Locations in ms by engine: prefill and decode cells as (prompt, steps, location, tokens of a call, median).

    Decode with a KV cache and without one are two modes; an engine has the second where it has none of the first.
    """
    order = [cell["id"] for cell in json.loads((run / "plan.json").read_text())["cells"]]
    samples = {}
    for call in last_tries(run):
        if call["regime"] != "warm" or call["status"] != "ok":
            continue
        if call["attribution"]["actual"] is None or not call["attribution"]["evidence"]:
            continue
        tokens, batch = call["tokens"], call["batch"]
        lengths = {span["phase"]: (span["end_ns"] - span["begin_ns"]) / 1e6 for span in call["spans"]}
        engine = (call["session"]["model"], call["session"]["backend"], call["dtype"], batch)
        prompt, steps = tokens["prompt_sent"] / batch, tokens["steps_requested"]
        for phase, ms in lengths.items():
            made = (tokens["prompt_evaluated"] or tokens["prompt_sent"]) if phase == "prefill" else steps * batch
            key = (order.index(call["cell_id"]), engine, phase)
            samples.setdefault(key, (prompt, steps, made, []))[3].append(ms)
    found = {}
    for (_, engine, phase), (prompt, steps, made, times) in sorted(samples.items()):
        if len(times) >= 3:
            location = math.exp(sum(math.log(ms) for ms in times) / len(times))
            found.setdefault(engine, {}).setdefault(phase, []).append((prompt, steps, location, made, median(times)))
    engines = {}
    for engine, phases in found.items():
        decode = next((phase for phase in DECODES if phase in phases), None)
        if decode and "prefill" in phases:
            engines[(*engine, decode)] = {"prefill": phases["prefill"], "decode": phases[decode]}
    return engines


def median(values):
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def knots(points):
    """Geometric means of what was measured at the same x."""
    at = {}
    for x, value in points:
        at.setdefault(x, []).append(math.log(value))
    return sorted((x, sum(logs) / len(logs)) for x, logs in at.items())


def between(curve, x, alone):
    """The value at x, straight in logarithms; of one knot by a power of x."""
    if len(curve) == 1:
        return math.exp(curve[0][1]) * (x / curve[0][0]) ** alone
    after = next((i for i in range(1, len(curve)) if x < curve[i][0]), len(curve) - 1)
    (low, below), (high, above) = curve[after - 1], curve[after]
    share = math.log(x / low) / math.log(high / low)
    return math.exp((1 - share) * below + share * above)


def context(prompt, steps):
    return prompt + (1 + steps) / 2


def near(x, xs):
    """Whether x is among what was measured, or outside by no more than the factor."""
    return min(xs) / BEYOND <= x <= max(xs) * BEYOND


class Engine:
    """Request times of one engine."""

    def __init__(self, phases):
        self.prefill = knots([(prompt, ms) for prompt, _, ms, _, _ in phases["prefill"]])
        self.decode, self.prompts = {}, {}
        for length in {steps for _, steps, *_ in phases["decode"]}:
            cells = [(prompt, ms / length) for prompt, steps, ms, *_ in phases["decode"] if steps == length]
            self.decode[length] = knots([(context(prompt, length), ms) for prompt, ms in cells])
            self.prompts[length] = [prompt for prompt, _ in cells]

    def known_at(self, prompt, steps):
        """The decode lengths that were measured after such a prompt, or in the context that the request has."""
        seen = context(prompt, steps)
        return [
            length
            for length, curve in self.decode.items()
            if near(prompt, self.prompts[length]) or near(seen, [x for x, _ in curve])
        ]

    def covers(self, prompt, steps):
        if not near(prompt, [x for x, _ in self.prefill]) or not near(steps, list(self.decode)):
            return False
        lengths = self.known_at(prompt, steps)
        return bool(lengths) and near(steps, lengths)

    def seconds(self, prompt, steps):
        lengths = self.known_at(prompt, steps)
        below = max([length for length in lengths if length <= steps], default=min(lengths))
        above = min([length for length in lengths if length >= steps], default=max(lengths))
        seen = context(prompt, steps)
        points = []
        for length in sorted({below, above}):
            curve = self.decode[length]
            inside = min(max(seen, curve[0][0] / BEYOND), curve[-1][0] * BEYOND)
            points.append((length, math.log(between(curve, inside, 0))))
        if len(points) == 1:
            per_step = math.exp(points[0][1])
        else:
            per_step = between(points, steps, 0)
        return (between(self.prefill, prompt, 1) + steps * per_step) / 1e3


class Compared:
    """Figures that were held against each other."""

    def __init__(self):
        self.figures, self.differences = 0, []

    def same(self, what, theirs, ours):
        self.figures += 1
        agree = theirs is not None and ours is not None and abs(theirs - ours) <= TOLERANCE * abs(ours)
        if not (agree or theirs is ours is None):
            self.differences.append(f"{what}: {theirs}, here {ours}")


def of_engine(rows, engine):
    names = ("model", "backend", "dtype", "batch", "decode")
    return [row for row in rows if tuple(row["engine"][name] for name in names) == engine]


def phases(compared, bill, engine, cells_of, pricing):
    for phase, cells in cells_of.items():
        seconds = sum(1e3 * ms / tokens for _, _, ms, tokens, _ in cells) / len(cells)
        for tier in pricing["tiers"]:
            wanted = (phase, tier["name"])
            row = next(row for row in of_engine(bill["phases"], engine) if (row["phase"], row["tier"]) == wanted)
            price = seconds / 3600 * tier["per_hour"]
            compared.same(f"{engine} {phase} {tier['name']}", row["cost"]["total"]["value"], price)


def measurements(compared, bill, engine, cells_of):
    """Each cell by itself, prefill's before decode's."""
    ours = [1e3 * ms / tokens for phase in ("prefill", "decode") for _, _, ms, tokens, _ in cells_of[phase]]
    rows = of_engine(bill["measurements"], engine)
    compared.same(f"{engine} measurements", float(len(rows)), float(len(ours)))
    for row, seconds in zip(rows, ours):
        compared.same(f"{engine} {row['scenario']} {row['phase']}", row["seconds"]["value"], seconds)


def comparisons(compared, bill):
    """Cohen's d of two engines over the cells that both have, from the prices of the cells."""
    for row in bill["comparisons"]:
        first, second = (
            {(of["scenario"], of["gen_tokens"]): of["cost"]["infrastructure"]["value"]
             for of in bill["measurements"] if (of["engine"], of["phase"]) == (row[which], row["phase"])}
            for which in ("first", "second")
        )
        both = [cell for cell in first if cell in second]
        groups = [[of[cell] for cell in both] for of in (first, second)]
        means = [sum(group) / len(group) for group in groups]
        squares = sum((value - mean) ** 2 for group, mean in zip(groups, means) for value in group)
        pooled = math.sqrt(squares / (2 * len(both) - 2))
        what = f"{row['first']['backend']} {row['second']['backend']} {row['phase']}"
        compared.same(f"{what} cells", float(row["cells"]), float(len(both)))
        compared.same(f"{what} d", row["cohen_d"], (means[1] - means[0]) / pooled if pooled else None)


def taking(times_of, lengths, batch):
    """What a request takes as one of a batch. None: it is not covered."""
    return lambda prompt, steps: times_of.seconds(prompt, steps) / batch if (prompt, steps) in lengths else None


def routing(compared, bill, covering, shapes, pricing):
    """A router of a model's engines against the best of them alone.

    `covering` has the engines that cover enough, by name, with what a covered request takes on each.
    """
    per_second = pricing["tiers"][0]["per_hour"] / 3600
    models = {engine[0] for engine in covering}
    of_several = [model for model in models if sum(engine[0] == model for engine in covering) > 1]
    compared.same("routing rows", float(len(bill["routing"])), float(len(of_several)))
    for row in bill["routing"]:
        own = {engine: takes for engine, takes in covering.items() if engine[0] == row["alone"]["model"]}

        def mean(takes):
            known = [(takes(prompt, steps), share) for prompt, steps, share in shapes]
            known = [(seconds, share) for seconds, share in known if seconds is not None]
            return sum(seconds * share for seconds, share in known) / sum(share for _, share in known)

        alone = min(own, key=lambda engine: mean(own[engine]))
        names = ("model", "backend", "dtype", "batch", "decode")
        compared.same(f"{alone} is best", float(tuple(row["alone"][name] for name in names) == alone), 1.0)
        inside = [of for of in shapes if own[alone](of[0], of[1]) is not None]
        weight = sum(share for *_, share in inside)
        best = [min((takes(of[0], of[1]), engine) for engine, takes in own.items() if takes(of[0], of[1]) is not None)
                for of in inside]
        routed = sum(seconds * of[2] for (seconds, _), of in zip(best, inside)) / weight
        elsewhere = sum(of[2] for (_, engine), of in zip(best, inside) if engine != alone) / weight
        compared.same(f"{alone} routed", 1 + row["routed"], 1 + elsewhere)
        whole = mean(own[alone])
        compared.same(f"{alone} saves", 100 + row["saved_percent"]["value"], 100 + (1 - routed / whole) * 100)
        saved = (whole - routed) * per_second * 1000
        compared.same(f"{alone} a thousand", whole * per_second * 1000 + row["saved_per_thousand"]["value"],
                      whole * per_second * 1000 + saved)


def load(compared, bill, engine, seconds, times, pricing, workload, measured):
    """Workers, waiting, months and break-even of the mean request, each with the share that was measured."""
    rate, share = workload.get("requests_per_second"), pricing.get("utilisation", 1.0)
    if rate is None:
        return
    exactly = rate * seconds / share * workload.get("burst_factor", 1.0)
    workers = math.ceil(exactly * (1 - 1e-12))
    row = of_engine(bill["capacity"], engine)[0]
    for table in ("capacity", "months", "break_even", "tco"):
        for other in of_engine(bill[table], engine):
            compared.same(f"{engine} {table} covered", other["coverage"], measured)
    compared.same(f"{engine} workers exactly", row["workers_exactly"], exactly)
    compared.same(f"{engine} workers", row["workers"]["value"], workers)
    busy = rate / workers * seconds
    compared.same(f"{engine} busy", row["busy"], busy)
    squares = sum(weight * time * time for time, weight in times) / sum(weight for _, weight in times)
    wait = rate / workers * squares / (2 * (1 - busy)) if engine[3] == 1 and busy < 1 else None
    compared.same(f"{engine} wait", row["mean_wait_model_s"], wait)
    hired = {tier["name"]: workers * HOURS * tier["per_hour"] for tier in pricing["tiers"]}
    for row in of_engine(bill["months"], engine):
        tier = next(tier for tier in pricing["tiers"] if tier["name"] == row["tier"])
        compared.same(f"{engine} {row['tier']} month", row["hired"]["value"], hired[row["tier"]])
        work = rate * MONTH_S * seconds / 3600 * tier["per_hour"]
        compared.same(f"{engine} {row['tier']} work", row["for_work"]["total"]["value"], work)
    hardware = pricing.get("hardware")
    rows = of_engine(bill["break_even"], engine)
    tiers = [tier for tier in pricing["tiers"] if not tier.get("owned", False)] if hardware else []
    compared.same(f"{engine} break-even rows", float(len(rows)), float(len(tiers)))
    for row in rows:
        once = workers * (hardware["price"] - hardware.get("resale", 0)) * hardware.get("share_of_use", 1)
        compared.same(f"{engine} {row['tier']} once", row["once"]["value"], once)
        months = row["months"] and row["months"]["value"]
        compared.same(f"{engine} {row['tier']} break-even", months, once / hired[row["tier"]])


def main(program, run, pricing_file, workload_file):
    asked = [program, "cost", run, "--pricing", pricing_file, "--workload", workload_file, "--json"]
    bill = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
    pricing = yaml.safe_load(Path(pricing_file).read_text())
    workload = yaml.safe_load(Path(workload_file).read_text())
    models = json.loads((Path(run) / "manifest.json").read_text())["models"]
    compared = Compared()
    engines, covering = cells(Path(run)), {}
    shapes = [(of["prompt"], of["gen"], of["share"]) for of in workload["mix"]]
    comparisons(compared, bill)
    for engine, cells_of in engines.items():
        phases(compared, bill, engine, cells_of, pricing)
        measurements(compared, bill, engine, cells_of)
        times_of = Engine(cells_of)
        limits = [(models[engine[0]]["architecture"] or {}).get("n_positions"), workload.get("longest_context")]
        longest = min([limit for limit in limits if limit is not None], default=math.inf)
        covered = [of for of in shapes if of[0] + of[1] <= longest and times_of.covers(of[0], of[1])]
        weight = sum(share for *_, share in covered)
        row = of_engine(bill["requests"], engine)[0]
        measured = weight / sum(share for *_, share in shapes)
        compared.same(f"{engine} covered", row["coverage"]["share"], measured)
        if not covered:
            continue
        times = [(times_of.seconds(prompt, steps) / engine[3], share / weight) for prompt, steps, share in covered]
        seconds = sum(time * share for time, share in times)
        compared.same(f"{engine} request", row["seconds"]["value"], seconds)
        rates = [
            sum(tokens / middle * 1e3 for *_, tokens, middle in cells_of[phase]) / len(cells_of[phase])
            for phase in ("prefill", "decode")
        ]
        mean = [sum(of[i] * of[2] for of in covered) / weight for i in (0, 1)]
        compared.same(f"{engine} by mean rates", row["by_mean_rates_s"], mean[0] / rates[0] + mean[1] / rates[1])
        for row in of_engine(bill["thousands"], engine):
            tier = next(tier for tier in pricing["tiers"] if tier["name"] == row["tier"])
            thousand = 1000 * seconds / 3600 * tier["per_hour"]
            compared.same(f"{engine} {row['tier']} thousand", row["cost"]["total"]["value"], thousand)
            per_million = thousand / 1000 / (mean[0] + mean[1]) * 1e6
            compared.same(f"{engine} {row['tier']} million", row["per_million_tokens"]["value"], per_million)
        if measured >= ENOUGH:
            lengths = {(prompt, steps) for prompt, steps, _ in covered}
            covering[engine] = taking(times_of, lengths, engine[3])
            load(compared, bill, engine, seconds, times, pricing, workload, measured)
    routing(compared, bill, covering, shapes, pricing)
    compared.same("engines", float(len(bill["requests"])), float(len(engines)))
    print(f"{compared.figures} figures of {len(engines)} engines, {len(compared.differences)} differ")
    for difference in compared.differences:
        print(f"  {difference}")
    return 1 if compared.differences else 0


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
