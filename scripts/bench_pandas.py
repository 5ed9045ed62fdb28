#!/usr/bin/env python3
"""Makes the tables of a run from its record with pandas and SciPy, which `phasebench analyze` is timed beside.

    pip install pandas==3.1.1 scipy==1.17.1 orjson==3.13.0
    python scripts/bench_pandas.py RUN OUT [--every-row]

RUN is one as `scripts/bench-analysis` makes it: simulated engines, one session, a fixed number of calls, each of which
prefills and decodes. Written as one would for such a record: a tuple per call, a row per call and mode, groups, and
all fits at once. Every table that is not empty in such a run is made, by the same rules and from the same calls.

Left out are words and facts of the machine: the columns `reason`, `note`, `overhead_share_reason`, the text and
figures of claims, and the advice, figures and doubts of recommendations; their verdicts are made. Columns that are
empty in such a run are written empty (energy, boards, imports, several sessions, grouped heads, how calls that ended
early lie between two forms). Tables of several engines are not made. Seals of the record are not checked.

The bootstrap of a slope draws random numbers above eight models: as many resamples as the program, but NumPy's. They
are told apart below; up to eight models all resamples are counted out, as there.

Prints for every table how far its figures are from those that the program wrote into RUN, where it did: relative to the
larger one, or of logarithms as they are; of metrics.csv for the first rows, unless every row is asked for.
"""

import json
import sys
import time
from functools import cache
from itertools import combinations_with_replacement, permutations
from operator import itemgetter
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
from numpy.polynomial.polynomial import polyval
from scipy import special, stats

LEVEL = 0.95
KEY = ["cell_id", "backend", "model", "weights_id", "dtype", "scenario", "batch", "gen_tokens"]
GROUP = ["cell_id", "weights_id", "dtype", "mode"]
SHAPE = ["backend", "dtype", "mode", "batch", "gen_tokens"]
MODES = ["prefill", "kv_decode", "e2e_kv"]
ARCHITECTURE = ["params_millions", "n_layer", "n_embd", "n_head", "n_kv_head"]
ENERGY = """power_mean_w energy_j energy_net_j energy_idle_kind energy_power_w j_per_token energy_u_stat energy_u_net
    energy_grade energy_method energy_updates energy_reason energy_sensor energy_simulated""".split()
BOARD = "gpu_temperature_c gpu_memory_temperature_c gpu_sm_mhz gpu_memory_mhz gpu_performance_state".split()
METRICS = [
    "call_id",
    *KEY,
    *"""mode role index attempt regime status degraded_kind flags disturbed made_again finish attributed requested
        actual""".split(),
    *ARCHITECTURE,
    *"""prompt_tokens prompt_padded decode_steps_timed new_tokens scaled tokens latency_ms decode_measured_ms
        kv_decode_ms_equiv_step kv_decode_ms_equiv_proportional ms_per_token tokens_per_s total_wall_ms
        since_last_call_ms session_age_ms client_cpu_ms outside_engine_ms outside_engine_us_per_step kv_bytes
        host_rss_bytes host_peak_bytes device_used_bytes""".split(),
    *ENERGY,
    *"foreign_cpu steal load_1min cpu_mhz".split(),
    *BOARD,
    *"task_idx call_idx round load_index session_index epoch imported".split(),
]
KINDS = """error timeout oom crashed incomplete early_stop too_short cache_hit truncated reloaded queued wrong_device
    fallback compile_failed stack_changed blocklisted_clock invariant planted""".split()
BYTES = {"f32": 4, "f16": 2, "8-bit": 1}
EARLY = ["early_stop", "too_short"]


# --- The record ---

OF_CALL = """call_id cell_id weights_id dtype scenario batch procedure role index attempt regime detail finish task_idx
    call_idx round load_index session_index epoch total_wall_ns since_last_call_ns session_age_ns client_cpu_ns
    outside_engine_ns""".split()
OF_SESSION = ["backend", "model"]
OF_TOKENS = "prompt_sent prompt_evaluated prompt_padded steps_requested decode_steps_timed new_tokens".split()
OF_MEMORY = "host_rss_bytes host_peak_bytes device_used_bytes kv_bytes".split()
BESIDE = "foreign_cpu steal load_1min cpu_mhz".split()
JUDGED = ["status", "degraded_kind", "flags", "requested", "actual", "attributed", "prefill_ns", "kv_decode_ns"]
CALL = OF_CALL + OF_SESSION + OF_TOKENS + OF_MEMORY + BESIDE + JUDGED
TEXTS = """cell_id weights_id dtype scenario procedure role regime finish backend model status degraded_kind flags
    requested actual""".split()
MAYBE = "since_last_call_ns client_cpu_ns outside_engine_ns new_tokens prefill_ns kv_decode_ns".split()
PARTS = [itemgetter(*names) for names in (OF_CALL, OF_SESSION, OF_TOKENS, OF_MEMORY, BESIDE)]


def call_of(call):
    """What tables show of a call, as in `CALL`."""
    call_part, session, tokens, memory, beside = PARTS
    status, attribution = call["status"], call["attribution"]
    judged = ("ok", None) if status == "ok" else ("degraded", status["degraded"])
    proven = attribution["actual"] is not None and bool(attribution["evidence"])
    took = {span["phase"]: span["end_ns"] - span["begin_ns"] for span in call["spans"]}
    return (
        *call_part(call),
        *session(call["session"]),
        *tokens(call["tokens"]),
        *memory(call["memory"]),
        *beside(call["beside"]),
        *judged,
        ";".join(dict.fromkeys(call["flags"])),
        attribution["requested"],
        attribution["actual"] if proven else None,
        proven,
        took.get("prefill"),
        took.get("kv_decode"),
    )


def records(run):
    """Calls and loads of a record, in its order."""
    calls, loads = [], []
    with open(run / "measurements.jsonl", "rb") as lines:
        for text in lines:
            line = orjson.loads(text)
            if "call" in line:
                calls.append(call_of(line["call"]))
            elif "load" in line:
                loads.append(line["load"])
    return pd.DataFrame(calls, columns=CALL), loads


def completed(calls, plan, models):
    """Calls with all that is the same in their modes, texts as categories, cells in the plan's order."""
    # A column that is not told by any call is no number yet.
    for name in MAYBE:
        calls[name] = pd.to_numeric(calls[name])
    cells = pd.CategoricalDtype([cell["id"] for cell in plan["cells"]])
    calls = calls.astype(dict.fromkeys(TEXTS, "category") | {"cell_id": cells}).join(models, on="model")
    asked, timed = calls["steps_requested"], calls["decode_steps_timed"]
    ok, batch = calls["status"] == "ok", calls["batch"]
    scaled = ok & (timed >= 1) & (timed < asked)
    measured = calls["kv_decode_ns"] / 1e6
    ended_early = calls["degraded_kind"].isin(EARLY)
    planned = {cell["id"]: cell["gen_tokens"] for cell in plan["cells"]}
    return calls.assign(
        gen_tokens=calls["cell_id"].map(planned).astype("int64"),
        disturbed=False,
        made_again=(calls["role"] == "timed") & ended_early & (calls["attempt"] < plan["early_stop"]["retries"]),
        scaled=scaled,
        steps=timed.where(~scaled, asked),
        prompt=calls["prompt_evaluated"].fillna(calls["prompt_sent"]),
        prompt_tokens=calls["prompt_sent"] / batch,
        new_tokens=calls["new_tokens"] / batch,
        prefill_ms=calls["prefill_ns"] / 1e6,
        measured_ms=measured,
        decode_ms=measured.where(~scaled, measured * (asked / timed)),
        total_wall_ms=calls["total_wall_ns"] / 1e6,
        since_last_call_ms=calls["since_last_call_ns"] / 1e6,
        session_age_ms=calls["session_age_ns"] / 1e6,
        client_cpu_ms=calls["client_cpu_ns"] / 1e6,
        outside_ms=calls["outside_engine_ns"] / 1e6,
    )


def by_mode(prefill, decode, both):
    """Columns of calls, one for each mode, as a column of rows."""
    return np.stack(np.broadcast_arrays(prefill, decode, both), axis=1).ravel()


def metrics_of(calls):
    """A row per call and mode."""
    nothing, batch, steps = np.nan, calls["batch"], calls["steps"]
    prefill, decode, measured = calls["prefill_ms"], calls["decode_ms"], calls["measured_ms"]
    made, asked = steps * batch, calls["steps_requested"]
    latency = by_mode(prefill, decode, prefill + decode)
    tokens = by_mode(calls["prompt"], made, calls["prompt"] + made)
    positions = by_mode(calls["prompt"] / batch, steps, nothing)
    outside = calls["outside_ms"]
    rows = len(calls) * len(MODES)
    empty = pd.Categorical.from_codes(np.full(rows, -1, dtype=np.int8), [""])
    metrics = calls.loc[calls.index.repeat(len(MODES))].assign(
        mode=pd.Categorical.from_codes(np.tile(range(len(MODES)), len(calls)), MODES, ordered=True),
        tokens=tokens if not np.isnan(latency).any() else np.where(np.isnan(latency), nothing, tokens),
        latency_ms=latency,
        decode_measured_ms=by_mode(nothing, measured, nothing),
        kv_decode_ms_equiv_step=by_mode(nothing, measured * (asked / calls["decode_steps_timed"]), nothing),
        kv_decode_ms_equiv_proportional=by_mode(nothing, measured * (asked / calls["new_tokens"]), nothing),
        ms_per_token=latency / positions,
        tokens_per_s=tokens / (latency / 1e3),
        outside_engine_ms=by_mode(nothing, outside, nothing),
        outside_engine_us_per_step=by_mode(nothing, outside * 1e3 / calls["decode_steps_timed"], nothing),
        **dict.fromkeys([*ENERGY, *BOARD, "imported"], empty),
    )
    return metrics[METRICS]


# --- Statistics, of many groups at once ---


def critical(df):
    """The value that Student's t exceeds in neither direction with a probability of `LEVEL`."""
    return stats.t.ppf((1 + LEVEL) / 2, np.minimum(df, 1e6))


def two_sided(t, df):
    """Probability that Student's t lies at least as far from 0."""
    return 2 * stats.t.sf(np.abs(t), np.minimum(df, 1e6))


def lag_1(deviations, group):
    """Autocorrelation of successive values of each group, about its mean; values stand group by group."""
    same = group[1:] == group[:-1]
    products = np.bincount(group[1:][same], (deviations[1:] * deviations[:-1])[same], minlength=group[-1] + 1)
    return products / np.bincount(group, deviations * deviations)


def persistence(r, n, fitted):
    """The autocorrelation to reckon with: corrected for its bias in short series, and drawn towards 0.3."""
    with np.errstate(divide="ignore", invalid="ignore"):
        corrected = np.clip((n * r + fitted) / (n - 4.0), 0.0, 0.95)
    return np.where(n <= 6, 0.3, (n * corrected + 10 * 0.3) / (n + 10))


def quadratic_form(weights_of, n, rho):
    """Variance of `Σ aᵢ·xᵢ` for AR(1) x of unit variance, of every group; `weights_of` makes a from its length."""
    found = np.full(len(n), np.nan)
    for length in np.unique(n):
        weights = weights_of(length)
        overlaps = np.correlate(weights, weights, "full")[length - 1 :]
        overlaps[1:] *= 2
        found[n == length] = polyval(rho[n == length], overlaps)
    return found


def centred_order(n):
    """Places of n calls about their middle."""
    return np.arange(n) - (n - 1) / 2


def described(latency, group):
    """What summaries say of the latencies of each group; values stand group by group, in call order."""
    grouped = pd.Series(latency).groupby(group)
    n = np.bincount(group)
    table = grouped.agg(median_ms="median", mean_ms="mean", sd_ms="std", min_ms="min", max_ms="max")
    q1, q3, p95, p99 = grouped.quantile([0.25, 0.75, 0.95, 0.99]).to_numpy().reshape(-1, 4).T
    reach = 1.5 * (q3 - q1)
    outside = (latency < (q1 - reach)[group]) | (latency > (q3 + reach)[group])
    cv = table["sd_ms"] / table["mean_ms"]
    bands = pd.cut(cv, [-np.inf, 0.02, 0.05, 0.15, np.inf], labels=["steady", "moderate", "noisy", "unstable"])
    logs = np.log(latency)
    mean = np.bincount(group, logs) / n
    deviations = logs - mean[group]
    constant = (table["max_ms"] - table["min_ms"] <= 1e-12 * table["max_ms"]).to_numpy() | (n < 3)
    with np.errstate(divide="ignore", invalid="ignore"):
        rho1 = np.where(constant, np.nan, lag_1(latency - table["mean_ms"].to_numpy()[group], group))
        of_logs = np.where(constant, 0.0, lag_1(deviations, group))
        inflation = quadratic_form(np.ones, n, persistence(of_logs, n, 1)) / n
        effective = np.where(n < 3, np.nan, n / inflation)
        # Autocorrelated values lie too close to their own mean.
        variance = np.bincount(group, deviations**2) / (n - inflation) / effective
        half = critical(effective - 1) * np.sqrt(variance)
    change, p = drift(deviations, group, n)
    told = ~constant & (n >= 5)
    ratio = table["mean_ms"] / table["median_ms"]
    return table.assign(
        n=n,
        p95_ms=np.where(n < 20, np.nan, p95),
        p99_ms=np.where(n < 100, np.nan, p99),
        cv=cv,
        cv_band=bands.astype(object),
        location_ms=np.where(n < 3, np.nan, np.exp(mean)),
        ci_low_ms=np.exp(mean - half),
        ci_high_ms=np.exp(mean + half),
        ci_relative=np.sinh(half),
        n_effective=effective,
        rho1=rho1,
        drift_relative=np.where(told, change, np.nan),
        drift_p=np.where(told, p, np.nan),
        outliers=np.where(n < 4, np.nan, np.bincount(group, outside)),
        mean_over_median=ratio,
        skewed=(ratio - 1).abs() > 0.10,
    )


def drift(deviations, group, n):
    """Change from the first call of each group to the last by a line through logarithms, and p of none."""
    first = np.cumsum(n) - n
    order = np.arange(len(group)) - first[group] - ((n - 1) / 2)[group]
    squares = n * (n * n - 1.0) / 12
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.bincount(group, order * deviations) / squares
        residuals = deviations - slope[group] * order
        rho = persistence(lag_1(residuals, group), n, 2)
        inflation = quadratic_form(centred_order, n, rho) / squares
        kept = n - quadratic_form(np.ones, n, rho) / n - inflation
        variance = np.bincount(group, residuals**2) / kept * inflation / squares
        p = two_sided(slope / np.sqrt(variance), np.maximum(n / inflation - 2, 1.0))
    return np.expm1(slope * (n - 1)), p


class Line:
    """`y = intercept + slope·x` by least squares, of many samples: a row of x and y is one."""

    def __init__(self, x, y, weights=None):
        """Through points that weigh alike, or as `weights` say."""
        weights = np.ones_like(x) if weights is None else weights
        total = weights.sum(axis=1)
        self.n = x.shape[1]
        self.mean_x, mean_y = (weights * x).sum(axis=1) / total, (weights * y).sum(axis=1) / total
        dx, dy = x - self.mean_x[:, None], y - mean_y[:, None]
        self.squares = (weights * dx * dx).sum(axis=1)
        self.slope = (weights * dx * dy).sum(axis=1) / self.squares
        self.intercept = mean_y - self.slope * self.mean_x
        self.residuals = dy - self.slope[:, None] * dx
        unexplained = (weights * self.residuals**2).sum(axis=1)
        self.r2 = 1 - unexplained / (weights * dy * dy).sum(axis=1)
        self.sigma = np.sqrt(unexplained / (self.n - 2))
        reach = critical(self.n - 2) * self.sigma
        self.slope_half = reach / np.sqrt(self.squares)
        self.intercept_half = reach * np.sqrt(1 / total + self.mean_x**2 / self.squares)

    def at(self, x):
        """The line's height at every x of its row."""
        return self.intercept[:, None] + self.slope[:, None] * x


class MeasuredLine(Line):
    """A line through points of which it is known how well each was measured, apart from how they scatter."""

    def __init__(self, x, y, error, df):
        """`error` is the standard error of each y, `df` its degrees of freedom; NaN where one is not known."""
        super().__init__(x, y)
        self.x, self.error, self.df = x, error, df
        self.known = ~np.isnan(error).any(axis=1) & (error > 0).any(axis=1)
        with np.errstate(divide="ignore"):
            of_errors = self.n / (error**-2.0).sum(axis=1)
        beyond = (self.residuals**2).sum(axis=1) / (self.n - 2) - (1 - 1.3 / self.n) * of_errors
        self.scatter = np.where(self.known, np.maximum(beyond, 0), np.nan)
        counts = (x - self.mean_x[:, None]) / self.squares[:, None]
        self.slope_half = np.where(self.known, self.half(counts[:, None, :])[:, 0], self.slope_half)

    def half(self, counts):
        """Half the interval of every `Σ lᵢyᵢ`, `counts` being the l of each row's estimates."""
        parts = (counts * self.error[:, None, :]) ** 2
        measured = parts.sum(axis=2)
        df = measured**2 / (parts**2 / self.df[:, None, :]).sum(axis=2)
        scattered = self.scatter[:, None] * (counts**2).sum(axis=2)
        return np.sqrt(critical(self.n - 2) ** 2 * scattered + critical(df) ** 2 * measured)

    def band(self):
        """Half the interval of the line's height at every x."""
        distance = self.x - self.mean_x[:, None]
        counts = 1 / self.n + distance[:, None, :] * (distance / self.squares[:, None])[:, :, None]
        plain = critical(self.n - 2) * self.sigma[:, None] * np.sqrt(1 / self.n + distance**2 / self.squares[:, None])
        return np.where(self.known[:, None], self.half(counts), plain)


EXACT_UP_TO = 8
RESAMPLES = 10_000
SEED = 42


@cache
def resamples(n):
    """How often each of n points is drawn, resample by resample, and how many draws that stands for."""
    if n > EXACT_UP_TO:
        counts = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
        return counts.astype(float), np.ones(RESAMPLES)
    chosen = np.array(list(combinations_with_replacement(range(n), n)))
    counts = (chosen[:, :, None] == np.arange(n)).sum(axis=1)
    return counts.astype(float), special.factorial(n) / special.factorial(counts).prod(axis=1)


def bootstrap(x, y):
    """Percentile interval of each row's slope: points are drawn with replacement, the same for all rows."""
    n = x.shape[1]
    counts, orders = resamples(n)
    x, y = (x - x[:, :1]).T, (y - y[:, :1]).T
    sum_x, sum_y = counts @ x, counts @ y
    spread = n * (counts @ (x * x)) - sum_x**2
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = (n * (counts @ (x * y)) - sum_x * sum_y) / spread
    # All of one point have no slope, but for rounding.
    kept = (counts.max(axis=1)[:, None] < n) & (spread > 0)
    slopes[~kept] = np.nan
    order = slopes.argsort(axis=0)
    slopes = np.take_along_axis(slopes, order, axis=0)
    seen = np.take_along_axis(np.where(kept, orders[:, None], 0), order, axis=0).cumsum(axis=0)
    return [weighted_quantile(slopes, seen, p) for p in ((1 - LEVEL) / 2, (1 + LEVEL) / 2)]


def weighted_quantile(values, seen, p):
    """Quantile of type 7 of each column of sorted values, of which so many were seen up to each."""
    position = p * (seen[-1] - 1)
    ranks = np.floor(position), np.minimum(np.floor(position) + 1, seen[-1] - 1)
    low, high = (np.take_along_axis(values, (seen <= rank).sum(axis=0)[None], axis=0)[0] for rank in ranks)
    return low + (position - ranks[0]) * (high - low)


def actionable(n, r2, *intervals):
    """Whether fits may be used: enough points, enough explained, and no interval includes 0."""
    passed = (n >= 4) & (r2 >= 0.2)
    for low, high in intervals:
        passed = passed & ((low > 0) | (high < 0))
    return passed


def ranks(values):
    """Midranks of each row about their mean."""
    return stats.rankdata(values, axis=1) - (values.shape[1] + 1) / 2


@cache
def orders(n):
    """All orders of n places."""
    return np.array(list(permutations(range(n))))


def spearman(x, y):
    """Rank correlation of each row, with p by Student's t and, of few points, over all orders."""
    n = x.shape[1]
    x, y = ranks(x), ranks(y)
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = np.clip((x * y).sum(axis=1) / np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1)), -1, 1)
        p_t = two_sided(rho * np.sqrt((n - 2) / (1 - rho * rho)), n - 2)
    p_exact = np.full(len(rho), np.nan)
    if n <= 9:
        for row in np.flatnonzero(~np.isnan(rho)):
            found = np.abs(y[row][orders(n)] @ x[row])
            p_exact[row] = (found >= abs(x[row] @ y[row]) - 1e-9).mean()
    return {"rho": rho, "p_t": p_t, "p_exact": p_exact}


# --- Tables of calls ---


def counts(metrics):
    """Which rows enter aggregates of their cell."""
    timed = (metrics["role"] == "timed") & (metrics["regime"] == "warm")
    return timed & (metrics["status"] == "ok") & ~metrics["made_again"] & metrics["latency_ms"].notna()


def plain(table):
    """The same with texts in place of categories."""
    return table.astype(dict.fromkeys(table.select_dtypes("category").columns, object))


def keyed(table, cells):
    """A table that stands by cell, with the cells' own columns in front and texts in place of categories."""
    own = cells.drop(columns=["dtype", "procedure"])
    return own.merge(plain(table.reset_index()), on="cell_id", how="right")


def summary_of(metrics, keep):
    """A row per cell and mode over the rows that `keep` says."""
    beside = ["attributed", "actual", "flags", "prompt_tokens", "tokens", "latency_ms", "ms_per_token", "session_index"]
    timed = metrics.loc[keep & counts(metrics), [*KEY, "mode", *ARCHITECTURE, *beside]]
    # A call that does not prove where it ran is never pooled with one that does.
    grouped = timed.groupby(GROUP, observed=True)
    pooled = timed[timed["attributed"] == grouped["attributed"].transform("any")]
    pooled = pooled.assign(group=pooled.groupby(GROUP, observed=True).ngroup()).sort_values("group", kind="stable")
    group, grouped = pooled["group"].to_numpy(), pooled.groupby("group")
    first = pooled[~pooled["group"].duplicated()].set_index("group")
    places = pd.MultiIndex.from_frame(plain(first[GROUP]))
    degraded = keep & (metrics["role"] == "timed") & (metrics["status"] == "degraded")
    sets = [names for names in pooled["flags"].cat.categories if "unaccounted" in names.split(";")]
    unaccounted = pooled["flags"].isin(sets).groupby(group).mean() > 0.5
    proof = first["attributed"].map({True: "attributed", False: "unattributed"}).mask(unaccounted, "unaccounted")
    found = described(pooled["latency_ms"].to_numpy(), group)

    def number(rows):
        numbers = plain(rows.groupby(GROUP, observed=True).size().reset_index(name="n"))
        return numbers.set_index(GROUP)["n"].reindex(places, fill_value=0).to_numpy()

    summary = first[[*KEY, "mode", "actual", *ARCHITECTURE, "prompt_tokens", "tokens"]].assign(
        regime="warm",
        attribution=proof,
        actual=first["actual"].where(grouped["actual"].nunique(dropna=False) == 1),
        n_degraded=number(metrics.loc[degraded, GROUP]),
        n_unattributed=number(timed.loc[~timed["attributed"], GROUP]),
        n_flagged=(pooled["flags"] != "").groupby(group).sum(),
        n_disturbed=0,
        sessions=grouped["session_index"].nunique(),
        cv_within=np.nan,
        cv_between=np.nan,
        interval_kind="log_location",
        tokens_per_s=first["tokens"] / (found["median_ms"] / 1e3),
        ms_per_token=grouped["ms_per_token"].median(),
    )
    return plain(summary.join(found))


def warmup_effect_of(metrics, cells):
    """Cold and warmup calls against timed ones, per cell and mode."""
    warms_up = metrics["role"].isin(["cold", "warmup"]) & (metrics["status"] == "ok") & metrics["latency_ms"].notna()
    timed = counts(metrics)
    columns = {"warmup": metrics["latency_ms"].where(warms_up), "timed": metrics["latency_ms"].where(timed)}
    rows = metrics[[*GROUP, "role"]].assign(**columns)[warms_up | timed]
    grouped = rows.assign(cold=rows["role"] == "cold").groupby(GROUP, observed=True)
    table = grouped.agg(
        n_warmup=("warmup", "count"),
        n_cold=("cold", "sum"),
        n_timed=("timed", "count"),
        warmup_ms=("warmup", "median"),
        timed_ms=("timed", "median"),
    )
    table["ratio"] = table["warmup_ms"] / table["timed_ms"]
    table["delta_ms"] = table["warmup_ms"] - table["timed_ms"]
    return keyed(table, cells)


def warmup_summary_of(effect):
    """Over the cells of a backend, element type and mode."""
    grouped = effect.dropna(subset=["ratio"]).groupby(["backend", "dtype", "mode"], sort=False)
    table = grouped.agg(
        n_cells=("ratio", "size"),
        ratio_median=("ratio", "median"),
        ratio_p95=("ratio", lambda of: of.quantile(0.95)),
        ratio_max=("ratio", "max"),
        delta_median_ms=("delta_ms", "median"),
        delta_p95_ms=("delta_ms", lambda of: of.quantile(0.95)),
        delta_max_ms=("delta_ms", "max"),
    )
    table.loc[table["n_cells"] < 20, ["ratio_p95", "delta_p95_ms"]] = np.nan
    table["worst_cell_id"] = effect.loc[grouped["ratio"].idxmax(), "cell_id"].to_numpy()
    return table.reset_index()


def decode_fraction_of(metrics, cells):
    """Decode's share of a request, per cell and over cells."""
    counted, place = counts(metrics), ["cell_id", "weights_id", "dtype"]
    decode = metrics.loc[counted & (metrics["mode"] == "kv_decode"), [*place, "latency_ms"]]
    whole = metrics.loc[counted & (metrics["mode"] == "e2e_kv"), "latency_ms"]
    # Rows of one call have its number.
    shares = decode.assign(share=decode["latency_ms"] / whole).dropna(subset=["share"])
    found = shares.groupby(place, observed=True)["share"].agg(n="size", decode_fraction="median")
    table = keyed(found, cells)
    over = table.groupby(["backend", "dtype", "batch", "gen_tokens"], sort=False)["decode_fraction"]
    return table, over.agg(n_cells="size", decode_fraction_median="median").reset_index()


def decode_linearity_of(metrics):
    """What a decode time must be divided by, where the calls tell; those of one count do not."""
    went_well = (metrics["status"] == "ok") & ~metrics["made_again"] | metrics["degraded_kind"].isin(EARLY)
    timed = (metrics["role"] == "timed") & (metrics["regime"] == "warm") & (metrics["mode"] == "kv_decode")
    usable = (metrics["new_tokens"] > 1) & (metrics["decode_measured_ms"] > 0) & (metrics["decode_steps_timed"] > 0)
    pool = ["backend", "model", "weights_id", "dtype", "batch"]
    rows = metrics.loc[timed & went_well & usable, ["cell_id", "scenario", *pool, "new_tokens", "decode_measured_ms"]]
    grouped = rows.groupby([*pool, "new_tokens"], observed=True)["decode_measured_ms"]
    by_count = plain(grouped.agg(ms="median", calls="size").reset_index())
    by_count["step"] = by_count["ms"] / (by_count["new_tokens"] - 1)
    by_count["proportional"] = by_count["ms"] / by_count["new_tokens"]
    of_pools = by_count.groupby(pool)
    cells = rows.drop_duplicates(["cell_id", "weights_id", "dtype"]).sort_values("cell_id")
    table = pd.DataFrame(
        {
            "scenarios": plain(cells).groupby(pool)["scenario"].agg(lambda of: ";".join(dict.fromkeys(of))),
            "n_calls": of_pools["calls"].sum(),
            "n_counts": of_pools.size(),
            "count_min": of_pools["new_tokens"].min(),
            "count_max": of_pools["new_tokens"].max(),
            **dict.fromkeys(["r2", "slope_ms_per_step", "intercept_steps"]),
            "step_spread": of_pools["step"].max() / of_pools["step"].min(),
            "proportional_spread": of_pools["proportional"].max() / of_pools["proportional"].min(),
            **dict.fromkeys(["between_forms", "between_forms_low", "between_forms_high"]),
            "form": "undecided",
        }
    )
    # In the plan's order.
    return plain(cells)[pool].drop_duplicates().join(table, on=pool)


def degraded_of(calls, cells):
    """How many calls of the run and of each cell are degraded, all kinds together and each that occurred."""
    bad = calls.loc[calls["status"] == "degraded", ["cell_id", "degraded_kind", "detail"]]
    number = calls.groupby("cell_id", observed=False).size()
    number = pd.Series([len(calls), *number], ["", *cells["cell_id"]], name="calls")
    bad = pd.concat([plain(bad).assign(cell_id=""), plain(bad)])
    together = bad.groupby("cell_id")["detail"].agg(["size", "first"]).reindex(number.index)
    apart = bad.groupby(["cell_id", "degraded_kind"])["detail"].agg(["size", "first"]).reset_index()
    rows = pd.concat([together.rename_axis("cell_id").reset_index().assign(degraded_kind=None), apart])
    rows["order"] = pd.Categorical(rows["cell_id"], number.index)
    rows["kind"] = pd.Categorical(rows.pop("degraded_kind"), KINDS)
    rows = rows.sort_values(["order", "kind"], na_position="first").join(number, on="cell_id")
    rows["degraded"] = rows.pop("size").fillna(0).astype(int)
    rows["rate"] = rows["degraded"] / rows["calls"]
    rows = rows.drop(columns="order").rename(columns={"first": "first_detail"})
    return cells.merge(plain(rows), on="cell_id", how="right")


def early_stop_summary_of(calls, cells, retries):
    """How often calls ended early: of the run, every backend, and every backend, model and scenario."""
    columns = ["cell_id", "role", "index", "attempt", "degraded_kind", "scaled", "made_again"]
    calls = calls[columns].assign(early=calls["degraded_kind"].isin(EARLY))
    timed = calls[calls["role"] == "timed"]
    last = timed.drop_duplicates(["cell_id", "index"], keep="last")
    chosen = {
        "calls": calls,
        "early_stops": calls[calls["scaled"] | calls["early"]],
        "timed_calls": last,
        "tries": timed[~timed["made_again"] | timed["early"]],
        "scaled": calls[calls["scaled"]],
        "too_short": calls[calls["degraded_kind"] == "too_short"],
        "unfinished": last[last["early"] & (last["attempt"] >= retries)],
    }
    of_cells = pd.DataFrame({name: rows.groupby("cell_id", observed=False).size() for name, rows in chosen.items()})
    of_cells = cells[["cell_id", "backend", "model", "scenario"]].merge(of_cells, on="cell_id", how="left")
    of_cells = of_cells.drop(columns="cell_id")
    names = list(chosen)
    table = pd.concat(
        [
            of_cells[names].sum().to_frame().T,
            of_cells.groupby("backend", sort=False)[names].sum().reset_index(),
            of_cells.groupby(["backend", "model", "scenario"], sort=False)[names].sum().reset_index(),
        ],
        ignore_index=True,
    )
    table["share"] = table["early_stops"] / table["calls"]
    table["tries_per_timed_call"] = table.pop("tries") / table["timed_calls"]
    return table


def load_breakdown_of(loads, calls, effect):
    """What a load and its first call take against a warm one."""
    names = ["load_index", "regime", "detail", "residency_id", "weights_id", "host_rss_before_bytes"]
    names += ["host_rss_after_bytes", "device_bytes", "planned_resident_bytes"]
    rows = []
    for load in loads:
        status, attribution = load["status"], load["attribution"]
        own = [ns for part, ns in load["parts_ns"] if part != "build_engines"]
        row = {name: load[name] for name in names} | load["session"]
        row["status"] = "ok" if status == "ok" else "degraded"
        row["degraded_kind"] = None if status == "ok" else status["degraded"]
        row |= {"n_evicted": len(load["evicted"]), "begin_ms": load["begin_ns"] / 1e6}
        row |= {"duration_ms": load["duration_ns"] / 1e6, "parts_ms": sum(own) / 1e6 if load["parts_ns"] else None}
        row["requested"] = attribution["requested"]
        row["actual"] = attribution["actual"] if attribution["evidence"] else None
        rows.append(row)
    place = ["load_index", "backend", "model"]
    first = calls.drop_duplicates(place)
    first = plain(first.loc[first["role"] == "cold", [*place, "call_id", "cell_id", "scenario", "batch", "prefill_ms"]])
    warm = effect.loc[effect["mode"] == "prefill", ["cell_id", "timed_ms"]]
    table = pd.DataFrame(rows).merge(first.merge(warm, on="cell_id", how="left"), on=place, how="left")
    table["first_call_ms"], table["warm_call_ms"] = table.pop("prefill_ms"), table.pop("timed_ms")
    table["first_call_id"] = table.pop("call_id")
    table["first_call_phase"] = np.where(table["first_call_ms"].notna(), "prefill", None)
    table["cold_start_ratio"] = (table["duration_ms"] + table["first_call_ms"]) / table["warm_call_ms"]
    before, after = (pd.to_numeric(table[f"host_rss_{when}_bytes"]) for when in ("before", "after"))
    table["host_rss_growth_bytes"] = after - before
    return table


def load_parts_of(loads):
    """The engine's own division of each load."""
    names = ["load_index", "backend", "model", "part_index", "part", "duration_ms"]
    rows = [
        (load["load_index"], load["session"]["backend"], load["session"]["model"], place, part, ns / 1e6)
        for load in loads
        for place, (part, ns) in enumerate(load["parts_ns"])
    ]
    return pd.DataFrame(rows, columns=names)


# --- Tables of models ---


def model_architecture_of(manifest, plan):
    """What was measured, as each backend loads it."""
    told = ["family", *ARCHITECTURE[1:], "head_dim", "n_inner", "vocab", "n_positions", "tied_embeddings"]
    rows = []
    for session in plan["sessions"]:
        key = session["key"]
        entry = manifest["models"][key["model"]]
        shape, form = entry["architecture"], entry["forms"][key["backend"]]
        kind, name = next(iter(entry["source"].items()))
        of_token = 2 * shape["n_layer"] * shape["n_kv_head"] * shape["head_dim"] * BYTES[form["dtype"]]
        row = key | {"source": kind if kind == "synthetic" else name, "weights_id": entry["weights_id"]}
        row |= {"params": entry["params"], "params_millions_effective": entry["params"] / 1e6}
        row |= {name: shape[name] for name in told}
        row |= {name: form[name] for name in ("dtype", "quantisation", "bytes")} | {"kv_bytes_per_token": of_token}
        rows.append(row)
    return pd.DataFrame(rows)


def kv_theory_of(models):
    """The cache in theory, by element type and context, and where it is as large as the weights."""
    elements = pd.DataFrame({"element": list(BYTES), "width": list(BYTES.values())})
    loaded = set(zip(models["model"], models["dtype"]))
    rows = models.drop_duplicates("model").merge(elements, how="cross")
    wanted = [of in loaded or of[1] in ("f16", "8-bit") for of in zip(rows["model"], rows["element"])]
    rows = rows[wanted]
    by_element = rows.assign(
        kv_bytes_per_token=2 * rows["n_layer"] * rows["n_kv_head"] * rows["head_dim"] * rows["width"],
        weights_bytes=rows["params"] * rows["width"],
    )
    theory = by_element.merge(pd.DataFrame({"context": [64, 128, 256, 512, 1024, 2048]}), how="cross")
    held = theory["kv_bytes_per_token"] * theory[["context", "n_positions"]].min(axis=1)
    theory = theory.assign(
        beyond_longest=theory["context"] > theory["n_positions"],
        kv_mib=held / 2**20,
        share_of_weights=(held / theory["weights_bytes"]).where(theory["element"] != "8-bit"),
    )
    crossover = by_element[by_element["element"] != "8-bit"].rename(columns={"n_positions": "longest_context"})
    crossover = crossover.assign(
        crossover=crossover["weights_bytes"] // crossover["kv_bytes_per_token"],
        multi_head_kv_bytes_per_token=np.nan,
        multi_head_n_inner=np.nan,
        multi_head_ratio=np.nan,
    )
    crossover["beyond_longest"] = crossover["crossover"] > crossover["longest_context"]
    of_theory = "model element kv_bytes_per_token context beyond_longest kv_mib share_of_weights".split()
    of_crossover = """model element weights_bytes kv_bytes_per_token crossover beyond_longest longest_context
        multi_head_kv_bytes_per_token multi_head_n_inner multi_head_ratio""".split()
    return theory[of_theory], crossover[of_crossover]


def kv_empirical_of(metrics, cells, models):
    """What engines allocated beside what the formula says."""
    told = counts(metrics) & (metrics["mode"] == "kv_decode") & (pd.to_numeric(metrics["kv_bytes"]) > 0)
    place = ["cell_id", "weights_id", "dtype"]
    rows = metrics.loc[told, [*place, "kv_bytes", "prompt_padded", "decode_steps_timed"]]
    grouped = rows.assign(held=rows["prompt_padded"] + rows["decode_steps_timed"]).groupby(place, observed=True)
    found = grouped.agg(n=("held", "size"), tokens_held=("held", "max"), allocated_bytes=("kv_bytes", "max"))
    table = keyed(found, cells)
    shapes = models.drop_duplicates("model").set_index("model")[["kv_bytes_per_token", "n_positions"]]
    shape = table[["model"]].join(shapes, on="model")
    held = table["tokens_held"].clip(upper=shape["n_positions"])
    table["theory_bytes"] = shape["kv_bytes_per_token"] * table["batch"] * held
    table["difference"] = table["allocated_bytes"] - table["theory_bytes"]
    table["difference_relative"] = table["difference"] / table["theory_bytes"]
    return table


# --- Tables over cells ---


def aggregate_of(summary):
    """Over the scenarios of one batch and decode length."""
    proven = summary[summary["attribution"] == "attributed"]
    per_token = proven["ms_per_token"] / proven["median_ms"]
    df = proven["n_effective"] - 1
    variance = (np.log(proven["ci_high_ms"] / proven["ci_low_ms"]) / 2 / critical(df)) ** 2
    rows = proven.assign(
        ln_median=np.log(proven["median_ms"]),
        ln_tokens=np.log(proven["tokens"]),
        ln_per_token=np.log(proven["ms_per_token"]),
        ln_location=np.log(proven["location_ms"] * per_token),
        variance=variance,
        by_df=variance**2 / df,
        df=df,
    )
    grouped = rows.groupby(["backend", "model", "weights_id", "dtype", "mode", "batch", "gen_tokens"], sort=False)
    table = grouped.agg(
        n_scenarios=("scenario", "size"),
        scenarios=("scenario", lambda of: ";".join(dict.fromkeys(of))),
        n_calls=("n", "sum"),
        **{name: (name, "first") for name in ARCHITECTURE},
    )
    means = np.exp(grouped[["ln_median", "ln_tokens", "ln_per_token"]].mean())
    ln, variance, by_df = grouped["ln_location"].mean(), grouped["variance"].sum(), grouped["by_df"].sum()
    df = (variance**2 / by_df).where(by_df > 0, grouped["df"].min())
    half = critical(df) * np.sqrt(variance) / table["n_scenarios"]
    table = table.assign(
        latency_ms=means["ln_median"],
        tokens=means["ln_tokens"],
        tokens_per_s=means["ln_tokens"] / (means["ln_median"] / 1e3),
        ms_per_token=means["ln_per_token"],
        location_ms_per_token=np.exp(ln),
        ci_low_ms_per_token=np.exp(ln - half),
        ci_high_ms_per_token=np.exp(ln + half),
        latency_rule="geometric mean of the scenarios' median latencies",
        throughput_rule="geometric mean of tokens / geometric mean of median latencies",
    ).reset_index()
    everywhere = summary.groupby(SHAPE, sort=False)["scenario"].agg(lambda of: list(dict.fromkeys(of))).to_dict()
    unproven = summary[summary["attribution"] != "attributed"].groupby([*SHAPE, "model", "weights_id"])["scenario"]
    unproven = unproven.agg(lambda of: ";".join(dict.fromkeys(of))).to_dict()
    shapes = list(table[SHAPE].itertuples(index=False, name=None))
    own = [set(names.split(";")) for names in table["scenarios"]]
    weights = list(table[["model", "weights_id"]].itertuples(index=False, name=None))
    table["missing_scenarios"] = [
        ";".join(name for name in everywhere[shape] if name not in had) for shape, had in zip(shapes, own)
    ]
    table["unattributed_scenarios"] = [unproven.get((*shape, *of), "") for shape, of in zip(shapes, weights)]
    return table


# How much less sure a median is than the mean of the same values, many of a normal distribution.
OF_MEDIAN = np.sqrt(np.pi / 2)


def points_of(summary):
    """A point per fit and model: over the scenarios that every model has, then of each scenario."""
    proven = summary[summary["attribution"] == "attributed"].dropna(subset=ARCHITECTURE)
    df = proven["n_effective"] - 1
    error = OF_MEDIAN * np.log(proven["ci_high_ms"] / proven["ci_low_ms"]) / 2 / critical(df)
    proven = proven.assign(
        shape=proven.groupby(SHAPE, sort=False).ngroup(),
        latency_ms=proven["median_ms"],
        ln=np.log(proven["median_ms"]),
        error=error,
        df=df,
        variance=error**2,
        by_df=error**4 / df,
        scope="scenario",
        scenarios=proven["scenario"],
    )
    # Weights that another name has already brought in are no second observation.
    proven = proven[proven["model"] == proven.groupby(["shape", "weights_id"])["model"].transform("first")]
    proven = proven.assign(place=proven.groupby("shape")["scenario"].transform(lambda of: of.factorize()[0]))
    models = proven.groupby("shape")["weights_id"].transform("nunique")
    having = proven.groupby(["shape", "scenario"])["weights_id"].transform("nunique")
    grouped = proven[models == having].groupby(["shape", "model", "weights_id"], sort=False)
    firsts = {name: (name, "first") for name in [*SHAPE, *ARCHITECTURE]}
    scenarios = ("scenario", lambda of: ";".join(dict.fromkeys(of)))
    pooled = grouped.agg(ln=("ln", "mean"), least_df=("df", "min"), scenarios=scenarios, n=("ln", "size"), **firsts)
    variance, by_df = grouped["variance"].sum(min_count=1), grouped["by_df"].sum()
    known = grouped["variance"].count() == pooled["n"]
    pooled = pooled.assign(
        latency_ms=np.exp(pooled["ln"]),
        error=(np.sqrt(variance) / pooled["n"]).where(known),
        df=(variance**2 / by_df).where(by_df > 0, pooled["least_df"]),
        scope="aggregate",
        place=-1,
    )
    points = pd.concat([pooled.reset_index(), proven]).sort_values(["shape", "place"], kind="stable")
    points["fit"] = points.groupby(["shape", "place"]).ngroup()
    points["n_models"] = points.groupby("fit")["model"].transform("size")
    points["scenario"] = points["scenarios"].where(points["scope"] == "scenario")
    scope = ("scenario:" + points["scenario"]).fillna("aggregate")
    shape = "/batch" + points["batch"].astype(str) + "/gen" + points["gen_tokens"].astype(str)
    points["fit_id"] = points["backend"] + "/" + points["dtype"] + "/" + points["mode"] + "/" + scope + shape
    return points.reset_index(drop=True)


def scopes_of(points):
    """A row per fit: what it is of."""
    names = ["fit_id", "backend", "dtype", "mode", "scope", "scenario", "batch", "gen_tokens", "n_models", "scenarios"]
    scopes = points.drop_duplicates("fit").set_index("fit")[names]
    scopes["models"] = points.groupby("fit")["model"].agg(";".join)
    aggregates = scopes[scopes["scope"] == "aggregate"]
    many = aggregates["scenarios"].str.split(";").str.len()
    headline = many.groupby([aggregates[name] for name in ["backend", "dtype", "mode"]], sort=False).idxmax()
    return scopes.assign(headline=scopes.index.isin(headline))


def stacked(points, needed, columns, fit):
    """What `fit` makes of every scope of enough models, those of as many at once: a row of its arguments is a scope."""
    parts = []
    for size, of in points[points["n_models"] >= needed].groupby("n_models"):
        arrays = [of[name].to_numpy(float).reshape(-1, size) for name in columns]
        parts.append(pd.DataFrame(fit(*arrays), index=of["fit"].unique()))
    return pd.concat(parts) if parts else pd.DataFrame()


MEASURED = ["params_millions", "latency_ms", "error", "df"]


def power_law(x, y, error, df):
    """`ln(latency_ms) = intercept_ln + slope·ln(x)` of each row."""
    x, y = np.log(x), np.log(y)
    law = MeasuredLine(x, y, error, df)
    low, high = law.slope - law.slope_half, law.slope + law.slope_half
    bootstrap_low, bootstrap_high = bootstrap(x, y)
    how = "exact" if law.n <= EXACT_UP_TO else f"sampled, {RESAMPLES} resamples, seed {SEED}"
    return {
        "slope": law.slope,
        "intercept_ln": law.intercept,
        "r2": law.r2,
        "sigma_ln": law.sigma,
        "scatter_ln": np.sqrt(law.scatter),
        "slope_t_low": low,
        "slope_t_high": high,
        "slope_bootstrap_low": bootstrap_low,
        "slope_bootstrap_high": bootstrap_high,
        "bootstrap": how,
        "actionable": actionable(law.n, law.r2, (low, high), (bootstrap_low, bootstrap_high)),
    }


def scaling_fits_of(points):
    """The power law of every scope."""
    found = stacked(points, 3, MEASURED, power_law)
    table = scopes_of(points).assign(form="power_law", x="params_millions").join(found)
    return table.assign(actionable=table["actionable"].eq(True))


def scaling_residuals_of(points):
    """The models of each fit."""
    parts = []
    for size, of in points[points["n_models"] >= 3].groupby("n_models"):
        x, y, error, df = (of[name].to_numpy(float).reshape(-1, size) for name in MEASURED)
        law = MeasuredLine(np.log(x), np.log(y), error, df)
        fitted, half = law.at(np.log(x)), law.band()
        columns = {"fitted_ms": np.exp(fitted), "residual_ln": law.residuals}
        columns |= {"band_low_ms": np.exp(fitted - half), "band_high_ms": np.exp(fitted + half)}
        of = of[["fit_id", "model", "weights_id", *MEASURED]]
        parts.append(of.assign(**{name: column.ravel() for name, column in columns.items()}))
    names = {"params_millions": "x", "error": "latency_se_ln", "df": "latency_se_df"}
    return pd.concat(parts).sort_index().rename(columns=names)


def plane(x1, x2, y):
    """`ln(latency_ms) = alpha + beta·ln(params_millions) + gamma·ln(n_layer)` of each row."""
    n = y.shape[1]
    u, v, w = np.log(x1), np.log(x2), np.log(y)
    means = [column.mean(axis=1) for column in (u, v, w)]
    u, v, w = (column - mean[:, None] for column, mean in zip((u, v, w), means))
    uu, vv, uv, uw, vw = ((a * b).sum(axis=1) for a, b in ((u, u), (v, v), (u, v), (u, w), (v, w)))
    r = np.clip(uv / np.sqrt(uu * vv), -1, 1)
    determinant = np.where(1 - r * r < 1e-10, np.nan, uu * vv - uv * uv)
    beta, gamma = (vv * uw - uv * vw) / determinant, (uu * vw - uv * uw) / determinant
    unexplained = ((w - beta[:, None] * u - gamma[:, None] * v) ** 2).sum(axis=1)
    reach = critical(n - 3) * np.sqrt(unexplained / (n - 3))
    beta_half, gamma_half = reach * np.sqrt(vv / determinant), reach * np.sqrt(uu / determinant)
    r2 = 1 - unexplained / (w * w).sum(axis=1)
    both = (beta - beta_half, beta + beta_half), (gamma - gamma_half, gamma + gamma_half)
    return {
        "alpha": means[2] - beta * means[0] - gamma * means[1],
        "beta_ln_params": beta,
        "beta_low": both[0][0],
        "beta_high": both[0][1],
        "gamma_ln_n_layer": gamma,
        "gamma_low": both[1][0],
        "gamma_high": both[1][1],
        "r2": r2,
        "condition_number": np.where(np.isnan(determinant), np.nan, np.sqrt((1 + np.abs(r)) / (1 - np.abs(r)))),
        "actionable": actionable(n, r2, *both),
    }


def multivariate_fits_of(points):
    """Size and depth together."""
    found = stacked(points, 4, ["params_millions", "n_layer", "latency_ms"], plane)
    table = scopes_of(points).drop(columns=["models", "scenarios"]).join(found)
    return table.assign(actionable=table["actionable"].eq(True) if len(found) else False)


def overhead(x, y):
    """`latency_ms = a + b·x` of each row, by differences and by ratios."""
    line, relative = Line(x, y), Line(x, y, 1 / y**2)
    bootstrapped = bootstrap(x, y)
    fitted = relative.at(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs, of_fitted = np.log(y), np.log(fitted)
    unexplained = ((logs - of_fitted) ** 2).sum(axis=1)
    total = ((logs - logs.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    found = {}
    for begin, of in [("", line), ("relative_", relative)]:
        for name, value, half in [("a", of.intercept, of.intercept_half), ("b", of.slope, of.slope_half)]:
            unit = "ms" if name == "a" else "ms_per_x"
            found[f"{begin}{name}_{unit}"] = value
            found[f"{begin}{name}_low_{unit}"], found[f"{begin}{name}_high_{unit}"] = value - half, value + half
    median_x = np.median(x, axis=1)
    slopes = (found["b_low_ms_per_x"], found["b_high_ms_per_x"])
    usable = actionable(line.n, line.r2, slopes, bootstrapped)
    share = line.intercept / line.at(median_x[:, None])[:, 0]
    told = usable & ((found["a_low_ms"] > 0) | (found["a_high_ms"] < 0)) & (share >= 0) & (share <= 1)
    return found | {
        "r2": line.r2,
        "relative_r2_ln": np.where((fitted > 0).all(axis=1), 1 - unexplained / total, np.nan),
        "median_x": median_x,
        "overhead_share": np.where(told, share, np.nan),
        "actionable": usable,
    }


def overhead_compute_fits_of(points):
    """A constant plus a part proportional to size."""
    found = stacked(points, 3, ["params_millions", "latency_ms"], overhead)
    table = scopes_of(points).drop(columns=["models", "scenarios"]).assign(x="params_millions").join(found)
    return table.assign(actionable=table["actionable"].eq(True))


def architecture_correlations_of(points):
    """Ranks of latency against size, depth, width and heads."""
    scopes = scopes_of(points).drop(columns=["models", "scenarios"])
    parts = []
    for predictor in ARCHITECTURE[:4]:
        found = stacked(points, 3, [predictor, "latency_ms"], spearman)
        parts.append(scopes.assign(predictor=predictor).join(found))
    return pd.concat(parts).sort_index(kind="stable")


# --- Verdicts ---


def shown(known, holds):
    """What statuses say of something that is known: supported where it holds."""
    return pd.Series(np.where(known, np.where(holds, "supported", "contradicted"), "not_identifiable"))


def grows(fits, models, mode, smallest=0.0, largest=np.inf):
    """Whether time grows with size by a power law, of models of these sizes."""
    millions = models.drop_duplicates("model").set_index("model")["params_millions_effective"]
    asked = fits[fits["headline"] & (fits["mode"] == mode) & (fits["n_models"] >= 3)]
    sizes = asked["models"].str.split(";").map(lambda names: millions[names].between(smallest, largest).all())
    asked = asked[sizes.astype(bool)]
    low, high = asked["slope_t_low"], asked["slope_t_high"]
    within, without = (low >= 0) & (high <= 100), (high < 0) | (low > 100)
    return shown(asked["actionable"] & (within | without), within)


def prefill_cheaper(summary, by):
    """Time of a token that is written ÷ time of one that is read, cell by cell."""
    proven = summary[summary["attribution"] == "attributed"]
    place = ["cell_id", "weights_id", "dtype"]
    columns = [*place, "tokens", "location_ms", "ci_high_ms"]
    decode, prefill = (proven.loc[proven["mode"] == mode, columns] for mode in ("kv_decode", "prefill"))
    both = decode.merge(prefill, on=place, suffixes=("", "_read"))
    half = np.log(both["ci_high_ms"] / both["location_ms"]), np.log(both["ci_high_ms_read"] / both["location_ms_read"])
    width = np.hypot(*half)
    ratio = both["location_ms"] / both["location_ms_read"] * both["tokens_read"] / both["tokens"]
    low, high = (ratio * np.exp(-width)).dropna(), (ratio * np.exp(width)).dropna()
    return shown((low >= by) | (high < by), low >= by)


def claims_of(tables):
    """What published reports conclude, and what the rows say to it; empty where a run of simulated engines has none."""
    summary, shares = tables["summary_by_model_backend_mode"], tables["decode_fraction_summary"]
    fits, models = tables["scaling_fits"], tables["model_architecture"]
    decode = shares["decode_fraction_median"]
    ratios = tables["load_breakdown"]["cold_start_ratio"].dropna()
    differences = tables["kv_memory_empirical"]["difference"]
    proven = (summary["attribution"] == "attributed").groupby(summary["backend"]).all()
    evidence = {
        "synthesis-c1-labels-are-reliable": ("summary_by_model_backend_mode", shown(proven, True)),
        "synthesis-c2-prefill-tells-of-all": ("decode_fraction_summary", shown(decode.notna(), 1 - decode >= 0.5)),
        "synthesis-c3-time-drives-cost": (None, None),
        "synthesis-c4-size-predicts-small-models": ("scaling_fits", grows(fits, models, "kv_decode", largest=100)),
        "synthesis-c5-size-predicts-large-models": ("scaling_fits", grows(fits, models, "kv_decode", smallest=200)),
        "synthesis-c6-short-phases-have-their-energy": ("energy_summary", None),
        "tr123-cache-helps-decode": ("summary_by_model_backend_mode", None),
        "tr123-compiling-helps-decode": ("compile_outcome", None),
        "tr123-grouped-heads-save-cache": ("model_architecture", None),
        "tr123-energy-costs-little": (None, None),
        "tr123-own-hardware-saves": (None, None),
        "tr123-cache-is-as-in-theory": ("kv_memory_empirical", shown(differences.notna(), differences == 0)),
        "tr123-prompt-tokens-are-cheap": ("summary_by_model_backend_mode", prefill_cheaper(summary, 10)),
        "tr121-size-predicts-prefill": ("scaling_fits", grows(fits, models, "prefill")),
        "tr121-size-predicts-decode": ("scaling_fits", grows(fits, models, "kv_decode")),
        "tr121-decode-dominates": ("decode_fraction_summary", shown(decode.notna(), decode >= 0.9)),
        "tr121-cold-starts-are-long": ("load_breakdown", shown(ratios.notna(), ratios >= 10)),
        "tr120-compiling-helps-prefill": ("compile_outcome", None),
        "tr119-onnx-runtime-prefills-faster": ("engine_pairs", None),
        "tr119-onnx-runtime-decodes-faster": ("engine_pairs", None),
        "tr122-energy-can-be-quoted": ("energy_summary", None),
    }
    rows = []
    for claim, (file, pieces) in evidence.items():
        number = {} if pieces is None else pieces.value_counts()
        yes, no, open_ = (number.get(name, 0) for name in ("supported", "contradicted", "not_identifiable"))
        status = "contradicted" if no else "not_identifiable" if open_ else "supported" if yes else "not_tested"
        of = "phasebench decide --pricing" if file is None else f"analysis/{file}.csv"
        rows.append((claim, status, yes, no, open_, of))
    return pd.DataFrame(rows, columns=["claim", "status", "n_supporting", "n_contradicting", "n_open", "rows"])


def warm_pools_of(loads, summary):
    """Whether models must be kept loaded: by prompt, whether a cold start takes more than ten warm prefills."""
    pool, prompt = ["model", "backend"], ["scenario", "batch"]
    loads = loads[loads["status"] == "ok"]
    warm = summary[summary["mode"] == "prefill"].groupby([*pool, *prompt], sort=False)["median_ms"].median()
    first = loads.dropna(subset=["cold_start_ratio"]).assign(long=loads["cold_start_ratio"] > 10)
    after = first.groupby([*pool, *prompt])["long"].agg(["size", "sum"])
    prompts = warm.rename("warm_ms").to_frame().join(after).fillna({"size": 0, "sum": 0})
    prompts = prompts.join(loads.groupby(pool)["duration_ms"].min(), on=pool)
    # The prompt came first after no load: the load alone may tell.
    by_load = (prompts["duration_ms"] + prompts["warm_ms"]) / prompts["warm_ms"] > 10
    is_long = by_load.where(prompts["size"] == 0, prompts["size"] == prompts["sum"]).astype(bool)
    is_short = (prompts["size"] > 0) & (prompts["sum"] == 0)
    prompts = prompts.assign(is_long=is_long, is_short=is_short, unknown=~(is_long | is_short))
    found = prompts.groupby(pool)[["is_long", "is_short", "unknown"]].any()
    either = found["is_long"] ^ found["is_short"]
    standing = np.where(~either, "not_separated", np.where(found["unknown"], "hint", "decided"))
    return loads[pool].drop_duplicates().join(pd.Series(standing, found.index, name="standing"), on=pool)


def recommendations_of(tables):
    """What the other tables advise, as far as they decide it."""
    pools = warm_pools_of(tables["load_breakdown"], tables["summary_by_model_backend_mode"])
    both = "analysis/load_breakdown.csv; analysis/summary_by_model_backend_mode.csv"
    pools = pools.assign(topic="warm_pool", about=pools["model"] + " on " + pools["backend"], rows=both)
    fits = tables["scaling_fits"]
    fits = fits[fits["headline"] & (fits["mode"] != "e2e_kv") & (fits["n_models"] >= 3)]
    fits = fits.assign(
        topic="scaling",
        about=fits["mode"] + " on " + fits["backend"] + " (" + fits["dtype"] + ")",
        standing=np.where(fits["actionable"], "decided", "not_separated"),
        rows="analysis/scaling_fits.csv",
    )
    names = ["topic", "about", "standing", "rows"]
    energy = pd.DataFrame([["energy", "the run", "no_data", "analysis/energy_summary.csv"]], columns=names)
    validity = [["validity", "all of the above", "decided", "manifest.json; plan.json"]]
    return pd.concat([pools[names], energy, fits[names], pd.DataFrame(validity, columns=names)])


# --- All of it ---


def cells_of(plan):
    """The plan's cells."""
    names = ["dtype", "scenario", "batch", "gen_tokens", "procedure"]
    rows = [{"cell_id": cell["id"], **cell["session"]} | {name: cell[name] for name in names} for cell in plan["cells"]]
    return pd.DataFrame(rows)


def refuse_others(plan):
    """Ends the program where a run is none of those that this is for."""
    beyond = {"session_count", "disturbed", "reference", "slowdown", "workload", "claims"} & plan.keys()
    kinds = {cell["procedure"] for cell in plan["cells"]}
    models = {cell["session"]["model"] for cell in plan["cells"]}
    if beyond or kinds != {"prefill_decode"} or "fixed" not in plan["repetitions"] or len(models) < 3:
        sys.exit("this is for runs as scripts/bench-analysis makes them, of at least three models")


def tables_of(run):
    """Every table by its file's name, metrics.csv first."""
    plan, manifest = (json.loads((run / name).read_text()) for name in ("plan.json", "manifest.json"))
    refuse_others(plan)
    models, cells = model_architecture_of(manifest, plan), cells_of(plan)
    shapes = models.drop_duplicates("model").set_index("model")
    shapes = shapes.assign(params_millions=shapes["params_millions_effective"])
    calls, loads = records(run)
    calls = completed(calls, plan, shapes[ARCHITECTURE])
    metrics = metrics_of(calls)
    all_rows = pd.Series(True, metrics.index)
    by_length = metrics["finish"].isna() | (metrics["finish"] == "length")
    summary = summary_of(metrics, all_rows)
    points = points_of(summary)
    fits = scaling_fits_of(points)
    limited = fits if by_length.all() else scaling_fits_of(points_of(summary_of(metrics, by_length)))
    fraction, fraction_summary = decode_fraction_of(metrics, cells)
    theory, crossover = kv_theory_of(models)
    effect = warmup_effect_of(metrics, cells)
    tables = {
        "metrics": metrics,
        "summary_by_model_backend_mode": summary,
        "summary_by_model_backend_mode_agg": aggregate_of(summary),
        "warmup_effect": effect,
        "warmup_summary": warmup_summary_of(effect),
        "decode_fraction": fraction,
        "decode_fraction_summary": fraction_summary,
        "decode_linearity": decode_linearity_of(metrics),
        "degraded": degraded_of(calls, cells),
        "early_stop_summary": early_stop_summary_of(calls, cells, plan["early_stop"]["retries"]),
        "load_breakdown": load_breakdown_of(loads, calls, effect),
        "load_parts": load_parts_of(loads),
        "model_architecture": models,
        "kv_memory_theoretical": theory,
        "kv_crossover_points": crossover,
        "kv_memory_empirical": kv_empirical_of(metrics, cells, models),
        "scaling_fits": fits,
        "scaling_fits_length_limited": limited,
        "scaling_residuals": scaling_residuals_of(points),
        "multivariate_fits": multivariate_fits_of(points),
        "overhead_compute_fits": overhead_compute_fits_of(points),
        "architecture_correlations": architecture_correlations_of(points),
    }
    tables["claims"] = claims_of(tables)
    tables["recommendations"] = recommendations_of(tables)
    # What only the warm pools needed of first calls.
    tables["load_breakdown"] = tables["load_breakdown"].drop(columns=["cell_id", "scenario", "batch"])
    return tables


RANDOM = ["slope_bootstrap_low", "slope_bootstrap_high"]
FIRST_ROWS = 10_000


def apart(own, here, logarithms):
    """How far two columns of figures are from each other, relative to the larger; 1 where one has none."""
    own, here = pd.to_numeric(own).to_numpy(float), pd.to_numeric(here).to_numpy(float)
    size = 1.0 if logarithms else np.maximum(np.abs(own), np.abs(here))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(own == here, 0.0, np.abs(own - here) / size)
    found = np.where(np.isnan(own) & np.isnan(here), 0.0, found)
    return np.nan_to_num(found, nan=1.0).max(initial=0.0)


def compare_table(name, own, here):
    """Says how far a table is from the program's."""
    if len(own) != len(here):
        return f"{name}: {len(own)} rows, here {len(here)}"
    here, figures, drawn, texts = here.reset_index(drop=True), {}, {}, []
    for column in own.columns.intersection(here.columns):
        if own[column].isna().all() and (here[column].isna() | here[column].astype(object).eq("")).all():
            continue
        if pd.api.types.is_numeric_dtype(own[column]) and here[column].dtype != "str":
            figures[column] = apart(own[column], here[column], column.endswith("_ln"))
        elif not own[column].fillna("").astype(str).eq(here[column].astype(object).fillna("").astype(str)).all():
            texts.append(column)
    if "slope" in figures and here["bootstrap"].eq("exact").sum() < len(here):
        width = own["slope_bootstrap_high"] - own["slope_bootstrap_low"]
        drawn = {column: ((own[column] - here[column]).abs() / width).max() for column in RANDOM}
        figures = {column: far for column, far in figures.items() if column not in RANDOM}
    worst = max(figures, key=figures.get, default=None)
    said = f"{name}: {len(own)} rows, {len(figures)} columns of figures"
    said += f", at most {figures[worst]:.1e} apart" + (f" ({worst})" if figures[worst] else "") if worst else ""
    said += f"; drawn: at most {max(drawn.values()):.3f} of the interval apart" if drawn else ""
    said += f"; other words: {', '.join(texts)}" if texts else ""
    left_out = own.columns.difference(here.columns, sort=False)
    return said + (f"; left out: {', '.join(left_out)}" if len(left_out) else "")


def compare(run, tables, rows):
    """Says how far all tables are from those that the program wrote into the run."""
    ids = {"cell_id": str, "weights_id": str, "call_id": str, "worst_cell_id": str, "first_call_id": str}
    for path in [run / "metrics.csv", *sorted((run / "analysis").glob("*.csv"))]:
        name = path.stem
        if not path.exists():
            continue
        own = pd.read_csv(path, dtype=ids, nrows=rows if name == "metrics" else None)
        if name in tables:
            here = tables[name]
            print(compare_table(name, own, here.iloc[: len(own)] if name == "metrics" and rows else here))
        elif len(own):
            print(f"{name}: {len(own)} rows, not made here")


def main():
    """Makes the tables and writes them."""
    names = [name for name in sys.argv[1:] if name != "--every-row"]
    if len(names) != 2:
        sys.exit(__doc__)
    run, out = Path(names[0]), Path(names[1])
    (out / "analysis").mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    tables = tables_of(run)
    made = time.monotonic()
    for name, table in tables.items():
        table.to_csv(out / ("metrics.csv" if name == "metrics" else f"analysis/{name}.csv"), index=False)
    written = time.monotonic()
    compare(run, tables, None if "--every-row" in sys.argv else FIRST_ROWS)
    took = f"made in {made - begin:.1f} s, written in {written - made:.1f} s"
    print(f"{took}, compared in {time.monotonic() - written:.1f} s")


if __name__ == "__main__":
    main()
