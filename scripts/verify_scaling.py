#!/usr/bin/env python3
"""Computes a run's scaling fits again, from its raw record, and compares them with analysis/scaling_fits.csv.

    scripts/verify_scaling.py RUN

Shares no code with the program: medians, regression, intervals and resampling are written anew with NumPy. Of the run
it reads measurements.jsonl for times and proofs, manifest.json for the size of each model and plan.json for the order
of cells; how well each median is known it takes from analysis/scaling_residuals.csv. The verdict of every fit and its
reason are worked out again too, and the TR121 shapes must have the parameter counts that were published. Exits with 1
if a figure differs by more than 1e-9 of its size, a verdict, a reason or a count differs, or a fit is missing on
either side.
"""

import csv
import itertools
import json
import math
import re
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
# By layers, width and heads.
PUBLISHED_PARAMS = {
    (2, 2, 2): 102_714,
    (12, 80, 2): 5_036_720,
    (3, 384, 2): 25_016_064,
    (6, 512, 8): 45_171_200,
    (8, 512, 2): 51_475_968,
    (5, 768, 2): 74_824_704,
    (8, 768, 2): 96_088_320,
}
GPT2_TOKENS = (50257, 1024)
FEWEST_FITTED, FEWEST_ACTIONABLE, LOWEST_R2 = 3, 4, 0.2
# Of the points' own variance this much ÷ n is left in what the residuals show.
LEFT = 1.3
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


def last_tries(run):
    """Timed calls in order; of one that was made again the last try alone."""
    lines = map(json.loads, (run / "measurements.jsonl").read_text().splitlines())
    timed = [line["call"] for line in lines if "call" in line and line["call"]["role"] == "timed"]
    last = {(call["cell_id"], call["index"]): call.get("attempt", 0) for call in timed}
    return [call for call in timed if call.get("attempt", 0) == last[call["cell_id"], call["index"]]]


def medians(run):
    """Median latency in ms by (backend, dtype, mode, batch, steps), scenario, (model, weights), in the plan's order.

    Over the calls that prove where they ran; None where no call of the cell does.
    """
    plan = json.loads((run / "plan.json").read_text())
    samples = {cell["id"]: {} for cell in plan["cells"]}
    steps = {cell["id"]: cell["gen_tokens"] for cell in plan["cells"]}
    for call in last_tries(run):
        if call["regime"] != "warm" or call["status"] != "ok":
            continue
        lengths = {span["phase"]: (span["end_ns"] - span["begin_ns"]) / 1e6 for span in call["spans"]}
        for mode, phases in PHASES.items():
            if all(phase in lengths for phase in phases) and call["cell_id"] in samples:
                shape = (call["session"]["backend"], call["dtype"], mode, call["batch"], steps[call["cell_id"]])
                key = (shape, call["scenario"], (call["session"]["model"], call["weights_id"]))
                proven = call["attribution"]["actual"] is not None
                row = (proven, sum(lengths[phase] for phase in phases))
                samples[call["cell_id"]].setdefault(key, []).append(row)
    found = {}
    for of_cell in samples.values():
        for (shape, scenario, model), values in of_cell.items():
            proven = [ms for proof, ms in values if proof]
            found.setdefault(shape, {}).setdefault(scenario, {})[model] = float(np.median(proven)) if proven else None
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
        proven = {name: {m: ms for m, ms in of.items() if ms is not None} for name, of in scenarios.items()}
        scenarios = once_per_weights(proven)
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


NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


def t_cdf(t, df):
    """Student's t, also for degrees of freedom that are no whole number.

    With t = tan(angle) * sqrt(df) its density is a power of the cosine, which is integrated by Gauss's rule.
    """
    angle = math.atan(t / math.sqrt(df)) / 2
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi)
    return 0.5 + scale * angle * float(WEIGHTS @ np.cos(angle * (NODES + 1)) ** (df - 1))


def t_quantile(p, df):
    low, high = 0.0, 1e7
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, df) < p else (low, middle)
    return (low + high) / 2


def half_width(dx, residuals, errors):
    """Half of the t interval of the slope.

    `errors` is the standard error and the degrees of freedom of each ln y, or None where they are not known; where they
    are not, or are all 0, the residuals alone make it. Else it has two parts, each with its own quantile: what the
    errors of the points make of the slope, and what the models scatter beyond them, which is what the residuals show
    less most of those errors.
    """
    n, quantile = len(dx), (1 + LEVEL) / 2
    of_residuals = residuals @ residuals / (n - 2)
    if errors is None or not any(se for se, _ in errors):
        return t_quantile(quantile, n - 2) * math.sqrt(of_residuals / (dx @ dx))
    own = np.array([se for se, _ in errors]) ** 2
    harmonic = n / sum(1 / v for v in own) if all(own) else 0.0
    scatter = max(0.0, of_residuals - (1 - LEFT / n) * harmonic)
    parts = (dx / (dx @ dx)) ** 2 * own
    df = parts.sum() ** 2 / sum(part**2 / freedom for part, (_, freedom) in zip(parts, errors))
    squared = t_quantile(quantile, df) ** 2 * parts.sum() + t_quantile(quantile, n - 2) ** 2 * scatter / (dx @ dx)
    return math.sqrt(squared)


def point_errors(run):
    """Standard error and degrees of freedom of ln y by fit and model, as far as the run's tables have them."""
    with open(run / "analysis" / "scaling_residuals.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    known = [row for row in rows if row["latency_se_ln"] and row["latency_se_df"]]
    return {(r["fit_id"], r["model"]): (float(r["latency_se_ln"]), float(r["latency_se_df"])) for r in known}


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


def fit(x, y, errors):
    """The figures of ln y on ln x, or None where no line with an interval goes through them."""
    if len(x) < 3 or len(set(x)) < 2 or len(set(y)) < 2:
        return None
    x, y = np.log(np.array(x)), np.log(np.array(y))
    dx, dy = x - x.mean(), y - y.mean()
    slope = dx @ dy / (dx @ dx)
    residuals = dy - slope * dx
    sigma = math.sqrt(residuals @ residuals / (len(x) - 2))
    half = half_width(dx, residuals, errors)
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


def brief(value):
    """A number as reasons print it."""
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.0005:
        text = f"{value:.1e}"
    elif size < 0.01:
        return f"{value:.4f}"
    elif size < 1000:
        return f"{value:.2f}"
    else:
        text = f"{value:.3e}"
    return re.sub(r"e([-+])0*(\d)", lambda e: ("e-" if e[1] == "-" else "e") + e[2], text)


def reasons(found, n):
    """Why a fit is not actionable, as far as it can be computed again."""
    why = []
    if n < FEWEST_ACTIONABLE:
        why.append(f"{n} points < {FEWEST_ACTIONABLE}")
    r2 = found["r2"]
    if r2 < LOWEST_R2:
        why.append(f"R² {f'{r2:.4f}' if r2 > 0.19 else brief(r2)} < {LOWEST_R2}")
    for kind in ["t", "bootstrap"]:
        low, high = found.get(f"slope_{kind}_low"), found.get(f"slope_{kind}_high")
        if low is not None and low <= 0 <= high:
            why.append(f"{kind} interval [{brief(low)}, {brief(high)}] includes 0")
    return why


def without_fit(x, y, column):
    """Why there is no fit at all."""
    if len(x) < FEWEST_FITTED:
        return f"{len(x)} model{'' if len(x) == 1 else 's'}, at least {FEWEST_FITTED} are needed"
    return f"all models have the same {column if len(set(x)) < 2 else 'latency'}"


def verdict(row, found, known, names):
    """What is wrong with a row's verdict, its reason and the models it counts."""
    x, y = [x for x, _ in known], [ms for _, ms in known]
    why = [without_fit(x, y, row["x"])] if not found else reasons(found, len(known))
    ours = [("n_models", str(len(known))), ("models", ";".join(names))]
    # A sampled bootstrap interval may add a reason of its own.
    if len(known) <= EXACT_UP_TO or not found:
        ours += [("actionable", "false" if why else "true"), ("reason", "; ".join(why))]
    elif why:
        ours.append(("actionable", "false"))
        if not row["reason"].startswith("; ".join(why)):
            ours.append(("reason", "; ".join(why) + " and what the bootstrap adds"))
    if (row["actionable"] == "true") != (row["reason"] == ""):
        ours.append(("reason", "one where the fit is not actionable, and only there"))
    return [
        f"{row['fit_id']}: {name} is {row[name] or 'empty'}, computed again {value or 'empty'}"
        for name, value in ours
        if row[name] != value
    ]


def published_counts(manifest):
    """How many models have a published shape, and whose parameter count is another."""
    seen, wrong = 0, []
    for name, entry in manifest["models"].items():
        shape = entry["architecture"] or {}
        if shape.get("family") != "gpt2" or (shape["vocab"], shape["n_positions"]) != GPT2_TOKENS:
            continue
        count = PUBLISHED_PARAMS.get((shape["n_layer"], shape["n_embd"], shape["n_head"]))
        if count is not None:
            seen += 1
            if entry["params"] != count:
                wrong.append(f"{name} has {entry['params']} parameters, published are {count}")
    return seen, wrong


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
    errors = point_errors(run)
    problems, compared, sampled = [], 0, 0
    worst = (0.0, "nothing")
    for key, points in scopes(run):
        row = published.pop(key, None)
        if row is None:
            problems.append(f"{key}: not in scaling_fits.csv")
            continue
        sized = [(model, predictor(manifest, row["x"], model), ms) for model, ms in points.items()]
        names = [model[0] for model, x, _ in sized if x is not None]
        known = [(x, ms) for _, x, ms in sized if x is not None]
        told = [errors.get((row["fit_id"], name)) for name in names]
        found = fit([x for x, _ in known], [ms for _, ms in known], told if all(told) else None) or {}
        problems += verdict(row, found, known, names)
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
    counted, miscounted = published_counts(manifest)
    problems += miscounted
    print(
        f"{compared} figures and every verdict of {len(rows)} fits computed again; largest difference {worst[0]:.1e} "
        f"({worst[1]}); {counted - len(miscounted)} of {counted} models of published shape have the published count"
    )
    if sampled:
        print(f"{sampled} bootstrap limits left out: more than {EXACT_UP_TO} models, so the program draws at random")
    for problem in problems:
        print(f"DIFFERS  {problem}")
    if not compared:
        print("DIFFERS  nothing could be compared")
    sys.exit(1 if problems or not compared else 0)


if __name__ == "__main__":
    main()
