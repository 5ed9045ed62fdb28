#!/usr/bin/env python3
"""Computes a run's scaling fits again, from its raw record, and compares them with analysis/scaling_fits.csv.

    scripts/verify_scaling.py RUN

Shares no code with the program: medians, regression, intervals and resampling are written anew with NumPy. Of the run
it reads measurements.jsonl for times, manifest.json for the size of each model and plan.json for the order of cells.
Exits with 1 if a figure differs by more than 1e-9 of its size, or if a fit is missing on either side.
"""

import csv
import itertools
import json
import math
import sys
from collections import Counter
from pathlib import Path

import numpy as np

TOLERANCE = 1e-9
LEVEL = 0.95
EXACT_UP_TO = 8
PHASES = {
    "prefill": ["prefill"],
    "kv_decode": ["kv_decode"],
    "e2e_kv": ["prefill", "kv_decode"],
    "generate_uncached": ["generate_uncached"],
}
FIGURES = [
    "slope",
    "intercept_ln",
    "r2",
    "sigma_ln",
    "slope_t_low",
    "slope_t_high",
    "slope_bootstrap_low",
    "slope_bootstrap_high",
]


def medians(run):
    """Median latency in ms by (backend, dtype, mode, batch, steps), scenario, (model, weights), in the plan's order."""
    plan = json.loads((run / "plan.json").read_text())
    samples = {cell["id"]: {} for cell in plan["cells"]}
    steps = {cell["id"]: cell["gen_tokens"] for cell in plan["cells"]}
    for line in (run / "measurements.jsonl").read_text().splitlines():
        call = json.loads(line).get("call")
        if call is None or call["role"] != "timed" or call["regime"] != "warm" or call["status"] != "ok":
            continue
        lengths = {span["phase"]: (span["end_ns"] - span["begin_ns"]) / 1e6 for span in call["spans"]}
        for mode, phases in PHASES.items():
            if all(phase in lengths for phase in phases) and call["cell_id"] in samples:
                shape = (call["session"]["backend"], call["dtype"], mode, call["batch"], steps[call["cell_id"]])
                key = (shape, call["scenario"], (call["session"]["model"], call["weights_id"]))
                samples[call["cell_id"]].setdefault(key, []).append(sum(lengths[phase] for phase in phases))
    found = {}
    for of_cell in samples.values():
        for (shape, scenario, model), values in of_cell.items():
            found.setdefault(shape, {}).setdefault(scenario, {})[model] = float(np.median(values))
    return found


def once_per_weights(scenarios):
    """Leaves out models whose weights another name has brought in before."""
    first = {}
    for models in scenarios.values():
        for name, weights in models:
            first.setdefault(weights, name)
    return {
        scenario: {model: ms for model, ms in models.items() if first[model[1]] == model[0]}
        for scenario, models in scenarios.items()
    }


def scopes(run):
    """Every fit's points: (shape, scenario or None) to latency by model."""
    for shape, scenarios in medians(run).items():
        scenarios = once_per_weights(scenarios)
        models = list(dict.fromkeys(model for of in scenarios.values() for model in of))
        common = [of for of in scenarios.values() if all(model in of for model in models)]
        if common:
            pooled = {m: math.exp(np.mean([math.log(of[m]) for of in common])) for m in models}
        else:
            pooled = {}
        yield (shape, None), pooled
        for scenario, of in scenarios.items():
            yield (shape, scenario), of


def predictor(manifest, column, model):
    """A model's x, or None where the manifest does not know it."""
    entry = manifest["models"][model[0]]
    if column == "params_millions":
        return None if entry["params"] is None else entry["params"] / 1e6
    return None if entry["architecture"] is None else float(entry["architecture"][column])


def t_cdf(t, df):
    """Student's t for whole degrees of freedom, by its finite series in the angle atan(t/sqrt(df))."""
    angle = math.atan(t / math.sqrt(df))
    cosine = math.cos(angle)
    if df % 2 == 0:
        term, total = 1.0, 1.0
        for k in range(1, df // 2):
            term *= (2 * k - 1) / (2 * k) * cosine**2
            total += term
        inside = math.sin(angle) * total
    else:
        term, total = cosine, 0.0
        for k in range(1, (df - 1) // 2 + 1):
            total += term
            term *= 2 * k / (2 * k + 1) * cosine**2
        inside = 2 / math.pi * (angle + math.sin(angle) * total)
    return 0.5 + inside / 2


def t_quantile(p, df):
    low, high = 0.0, 1e7
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, df) < p else (low, middle)
    return (low + high) / 2


def bootstrap(x, y):
    """Percentile interval over every resample of the points, each multiset weighted by its number of orderings."""
    n = len(x)
    slopes, weights = [], []
    for chosen in itertools.combinations_with_replacement(range(n), n):
        rows = list(chosen)
        if len(set(x[rows])) > 1:
            dx = x[rows] - x[rows].mean()
            slopes.append(dx @ (y[rows] - y[rows].mean()) / (dx @ dx))
            copies = Counter(chosen).values()
            weights.append(math.factorial(n) // math.prod(math.factorial(k) for k in copies))
    order = np.argsort(slopes)
    slopes, seen = np.array(slopes)[order], np.cumsum(np.array(weights)[order])

    def quantile(p):
        position = p * (seen[-1] - 1)
        below = math.floor(position)
        ranks = (below, min(below + 1, seen[-1] - 1))
        low, high = (slopes[np.searchsorted(seen, rank, side="right")] for rank in ranks)
        return low + (position - below) * (high - low)

    return quantile((1 - LEVEL) / 2), quantile((1 + LEVEL) / 2)


def fit(x, y):
    """The figures of ln y on ln x, or None where no line with an interval goes through them."""
    if len(x) < 3 or len(set(x)) < 2 or len(set(y)) < 2:
        return None
    x, y = np.log(np.array(x)), np.log(np.array(y))
    dx, dy = x - x.mean(), y - y.mean()
    slope = dx @ dy / (dx @ dx)
    residuals = dy - slope * dx
    sigma = math.sqrt(residuals @ residuals / (len(x) - 2))
    half = t_quantile((1 + LEVEL) / 2, len(x) - 2) * sigma / math.sqrt(dx @ dx)
    found = {
        "slope": slope,
        "intercept_ln": y.mean() - slope * x.mean(),
        "r2": 1 - residuals @ residuals / (dy @ dy),
        "sigma_ln": sigma,
        "slope_t_low": slope - half,
        "slope_t_high": slope + half,
    }
    if len(x) <= EXACT_UP_TO:
        found["slope_bootstrap_low"], found["slope_bootstrap_high"] = bootstrap(x, y)
    return found


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    run = Path(sys.argv[1])
    manifest = json.loads((run / "manifest.json").read_text())
    with open(run / "analysis" / "scaling_fits.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    published = {}
    for row in rows:
        shape = (row["backend"], row["dtype"], row["mode"], int(row["batch"]), int(row["gen_tokens"]))
        published[shape, row["scenario"] or None] = row
    problems, compared, sampled = [], 0, 0
    worst = (0.0, "nothing")
    for key, points in scopes(run):
        row = published.pop(key, None)
        if row is None:
            problems.append(f"{key}: not in scaling_fits.csv")
            continue
        known = [(predictor(manifest, row["x"], model), ms) for model, ms in points.items()]
        known = [(x, ms) for x, ms in known if x is not None]
        found = fit([x for x, _ in known], [ms for _, ms in known]) or {}
        for figure in FIGURES:
            ours, theirs = found.get(figure), row[figure]
            if figure.startswith("slope_bootstrap") and len(known) > EXACT_UP_TO:
                sampled += 1
            elif (ours is None) != (theirs == ""):
                problems.append(f"{row['fit_id']}: {figure} is {theirs or 'empty'}, computed again {ours}")
            elif ours is not None:
                compared += 1
                # A figure near 0, such as an interval's end, is judged on the slope's own scale.
                scale = max(abs(ours), abs(found["slope"])) if figure.startswith("slope") else max(abs(ours), 1e-6)
                difference = abs(ours - float(theirs)) / scale
                worst = max(worst, (difference, f"{figure} of {row['fit_id']}"))
                if not difference <= TOLERANCE:
                    problems.append(f"{row['fit_id']}: {figure} is {theirs}, computed again {float(ours)!r}")
    problems += [f"{row['fit_id']}: nothing in the record gives this fit" for row in published.values()]
    print(f"{compared} figures of {len(rows)} fits computed again; largest difference {worst[0]:.1e} ({worst[1]})")
    if sampled:
        print(f"{sampled} bootstrap limits left out: more than {EXACT_UP_TO} models, so the program draws at random")
    for problem in problems:
        print(f"DIFFERS  {problem}")
    if not compared:
        print("DIFFERS  nothing could be compared")
    sys.exit(1 if problems or not compared else 0)


if __name__ == "__main__":
    main()
