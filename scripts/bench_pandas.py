#!/usr/bin/env python3
"""Makes the main tables of a run from its record with pandas and SciPy, which `phasebench analyze` is timed beside.

    pip install pandas==3.1.1 scipy==1.17.1 && python scripts/bench_pandas.py RUN OUT

Written as one would for such a record: a dictionary per call, one frame per mode, groups. Of the tables of a run these
come out, with their main columns: metrics.csv, summary_by_model_backend_mode.csv with its geometric means,
warmup_effect.csv, decode_fraction.csv, degraded.csv, load_breakdown.csv, scaling_fits.csv and scaling_residuals.csv.
Prints how far figures are from those that the program wrote into the run, where it did; `scripts/bench-analysis
--pandas` times both.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

KEY = ["cell_id", "backend", "model", "weights_id", "dtype", "scenario", "batch", "gen_tokens"]
MODES = ["prefill", "kv_decode", "e2e_kv"]
LEVEL = 0.95


def records(run):
    """Calls and loads of a record, each as a dictionary without parts."""
    calls, loads = [], []
    with open(run / "measurements.jsonl") as lines:
        for text in lines:
            line = json.loads(text)
            if "call" in line:
                calls.append(call_of(line["call"]))
            elif "load" in line:
                load = line["load"]
                loads.append({"load_index": load["load_index"], **load["session"], "duration_ns": load["duration_ns"]})
    return pd.DataFrame(calls), pd.DataFrame(loads)


def call_of(call):
    """What tables show of a call."""
    names = ["call_id", "cell_id", "weights_id", "dtype", "scenario", "batch", "role", "index", "attempt", "regime"]
    names += ["finish", "task_idx", "call_idx", "round", "load_index", "session_index", "epoch", "total_wall_ns"]
    names += ["since_last_call_ns", "session_age_ns", "client_cpu_ns", "outside_engine_ns"]
    row = {name: call[name] for name in names}
    row |= call["session"] | call["tokens"] | call["memory"]
    row |= {name: call["beside"][name] for name in ["foreign_cpu", "steal", "load_1min", "cpu_mhz"]}
    row |= {"requested": call["attribution"]["requested"], "actual": call["attribution"]["actual"]}
    row["status"] = call["status"] if call["status"] == "ok" else "degraded"
    row["flags"] = ";".join(call["flags"])
    for span in call["spans"]:
        row[f"{span['phase']}_ns"] = span["end_ns"] - span["begin_ns"]
    return row


def models(run):
    """What is known of models, by name."""
    entries = json.loads((run / "manifest.json").read_text())["models"]
    shapes = {name: entry["architecture"] or {} for name, entry in entries.items()}
    columns = ["n_layer", "n_embd", "n_head", "n_kv_head"]
    rows = [{"model": name, **{column: shape.get(column) for column in columns}} for name, shape in shapes.items()]
    frame = pd.DataFrame(rows)
    frame["params_millions"] = [(entry["params"] or np.nan) / 1e6 for entry in entries.values()]
    return frame


def metrics_of(run, calls):
    """A row per call and mode."""
    plan = json.loads((run / "plan.json").read_text())
    calls["gen_tokens"] = calls["cell_id"].map({cell["id"]: cell["gen_tokens"] for cell in plan["cells"]})
    calls = calls.merge(models(run), on="model", how="left")
    frames = []
    for place, mode in enumerate(MODES):
        of_mode = calls.copy()
        of_mode["mode"], of_mode["place"] = mode, place
        spans = {"prefill": calls["prefill_ns"], "kv_decode": calls["kv_decode_ns"]}
        of_mode["latency_ms"] = spans.get(mode, calls["prefill_ns"] + calls["kv_decode_ns"]) / 1e6
        prompt, made = calls["prompt_evaluated"], calls["decode_steps_timed"] * calls["batch"]
        of_mode["tokens"] = {"prefill": prompt, "kv_decode": made}.get(mode, prompt + made)
        positions = {"prefill": prompt / calls["batch"], "kv_decode": calls["decode_steps_timed"]}.get(mode)
        of_mode["ms_per_token"] = np.nan if positions is None else of_mode["latency_ms"] / positions
        of_mode["tokens_per_s"] = of_mode["tokens"] / (of_mode["latency_ms"] / 1e3)
        frames.append(of_mode)
    metrics = pd.concat(frames, ignore_index=True)
    for column in ["total_wall", "since_last_call", "session_age", "client_cpu", "outside_engine"]:
        metrics[f"{column}_ms"] = metrics.pop(f"{column}_ns") / 1e6
    return metrics.sort_values(["call_idx", "place"], kind="stable").drop(columns=["place"])


def location(values):
    """What a cell takes, with its interval: of logarithms, corrected for what one call tells of the next."""
    n = len(values)
    quantiles = np.quantile(values, [0.25, 0.5, 0.75, 0.95, 0.99])
    q1, median, q3, p95, p99 = quantiles
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    logs = np.log(values)
    rho = np.corrcoef(logs[:-1], logs[1:])[0, 1] if n > 2 else np.nan
    effective = n * (1 - max(rho, 0.0)) / (1 + max(rho, 0.0)) if n > 2 else n
    half = stats.t.ppf((1 + LEVEL) / 2, max(effective - 1, 1)) * logs.std(ddof=1) / np.sqrt(effective)
    drift = stats.linregress(np.arange(n), logs) if n > 4 else None
    return {
        "n": n,
        "median_ms": median,
        "mean_ms": values.mean(),
        "sd_ms": values.std(ddof=1),
        "min_ms": values.min(),
        "max_ms": values.max(),
        "p95_ms": p95,
        "p99_ms": p99,
        "cv": values.std(ddof=1) / values.mean(),
        "location_ms": np.exp(logs.mean()),
        "ci_low_ms": np.exp(logs.mean() - half),
        "ci_high_ms": np.exp(logs.mean() + half),
        "n_effective": effective,
        "rho1": rho,
        "drift_relative": np.nan if drift is None else np.expm1(drift.slope * (n - 1)),
        "drift_p": np.nan if drift is None else drift.pvalue,
        "outliers": int(((values < low) | (values > high)).sum()),
    }


def summary_of(counted):
    """A row per cell and mode."""
    groups = counted.groupby(KEY + ["mode", "params_millions"], sort=False, dropna=False)["latency_ms"]
    rows = [{**dict(zip(KEY + ["mode", "params_millions"], key)), **location(of.to_numpy())} for key, of in groups]
    return pd.DataFrame(rows)


def warmup_of(metrics, counted):
    """How much slower the first calls are."""
    first = metrics[metrics["role"].isin(["cold", "warmup"]) & (metrics["status"] == "ok")]
    key = ["cell_id", "mode"]
    both = pd.concat(
        [of.groupby(key)["latency_ms"].agg(["median", "size"]).add_prefix(name) for name, of in
         [("warmup_", first), ("timed_", counted)]],
        axis=1,
    )
    both["ratio"] = both["warmup_median"] / both["timed_median"]
    both["delta_ms"] = both["warmup_median"] - both["timed_median"]
    return both.reset_index()


def decode_fraction_of(counted):
    """Decode's share of a request."""
    wide = counted.pivot(index=["cell_id", "call_id"], columns="mode", values="latency_ms")
    share = wide["kv_decode"] / wide["e2e_kv"]
    return share.groupby("cell_id").agg(["size", "median"]).reset_index()


def loads_of(loads, metrics):
    """What a load and its first call take against a warm one."""
    cold = metrics[(metrics["role"] == "cold") & (metrics["mode"] == "prefill")]
    loads = loads.merge(cold[["load_index", "cell_id", "latency_ms"]], on="load_index", how="left")
    return loads.assign(duration_ms=loads["duration_ns"] / 1e6)


def slopes(x, y, axis=-1):
    """The slopes of lines through many samples at once."""
    x, y = x - x.mean(axis=axis, keepdims=True), y - y.mean(axis=axis, keepdims=True)
    return (x * y).sum(axis=axis) / (x * x).sum(axis=axis)


def fits_of(summary):
    """The power law of every shape over its models, in each scenario and over all."""
    shape = ["backend", "dtype", "mode", "batch", "gen_tokens"]
    logs = summary.assign(x=np.log(summary["params_millions"]), y=np.log(summary["median_ms"]))
    pooled = logs.groupby(shape + ["model"], sort=False)[["x", "y"]].mean().reset_index().assign(scenario="")
    fits, residuals = [], []
    for key, of in pd.concat([pooled, logs]).groupby(shape + ["scenario"], sort=False):
        fit = stats.linregress(of["x"], of["y"])
        half = stats.t.ppf((1 + LEVEL) / 2, len(of) - 2) * fit.stderr
        draws = stats.bootstrap(
            (of["x"].to_numpy(), of["y"].to_numpy()),
            slopes,
            paired=True,
            vectorized=True,
            n_resamples=1000,
            method="percentile",
            rng=1,
        )
        interval = draws.confidence_interval
        row = dict(zip(shape + ["scenario"], key))
        row |= {"slope": fit.slope, "intercept_ln": fit.intercept, "r2": fit.rvalue**2}
        row |= {"slope_t_low": fit.slope - half, "slope_t_high": fit.slope + half}
        row |= {"slope_bootstrap_low": interval.low, "slope_bootstrap_high": interval.high}
        fits.append(row)
        residuals.append(of.assign(residual_ln=of["y"] - fit.intercept - fit.slope * of["x"]))
    return pd.DataFrame(fits), pd.concat(residuals)


def tables_of(run):
    """Every table by its file's name."""
    calls, loads = records(run)
    metrics = metrics_of(run, calls)
    ok = (metrics["status"] == "ok") & metrics["latency_ms"].notna()
    counted = metrics[ok & (metrics["role"] == "timed") & (metrics["regime"] == "warm")]
    summary = summary_of(counted)
    fits, residuals = fits_of(summary)
    degraded = metrics.drop_duplicates("call_id").groupby("cell_id")["status"].agg(lambda of: (of != "ok").mean())
    return {
        "metrics": metrics,
        "summary_by_model_backend_mode": summary,
        "warmup_effect": warmup_of(metrics, counted),
        "decode_fraction": decode_fraction_of(counted),
        "degraded": degraded.reset_index(),
        "load_breakdown": loads_of(loads, metrics),
        "scaling_fits": fits,
        "scaling_residuals": residuals,
    }


def compare(run, tables):
    """Says how far figures are from the program's own."""
    written = run / "analysis" / "summary_by_model_backend_mode.csv"
    if not written.exists():
        return
    own = pd.read_csv(written)
    both = own.merge(tables["summary_by_model_backend_mode"], on=["cell_id", "mode"], suffixes=("", "_here"))
    for column in ["median_ms", "mean_ms", "sd_ms", "p99_ms", "location_ms"]:
        apart = (both[column] / both[f"{column}_here"] - 1).abs().max()
        print(f"{column}: {len(both)} rows, at most {apart:.1e} apart")


def main():
    """Makes the tables and writes them."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    run, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    tables = tables_of(run)
    for name, table in tables.items():
        table.to_csv(out / f"{name}.csv", index=False)
    compare(run, tables)


if __name__ == "__main__":
    main()
