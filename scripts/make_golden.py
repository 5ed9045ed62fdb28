#!/usr/bin/env python3
"""Writes tests/data/golden/stats.json: values of NumPy and SciPy that src/stats must reproduce.

    pip install numpy==2.4.6 scipy==1.17.1 && python scripts/make_golden.py

The published figures beside it, cases.json, are fixed and not made here.
"""

import json
import pathlib

import numpy as np
import scipy
from scipy import stats

LEVEL = 0.95
OUT = pathlib.Path(__file__).parent.parent / "tests" / "data" / "golden" / "stats.json"


def interval(value, error, df):
    half = stats.t.ppf((1 + LEVEL) / 2, df) * error
    return [value - half, value + half]


def least_squares(columns, y):
    """Coefficients with t intervals from the design matrix, by NumPy's SVD solver."""
    design = np.column_stack([np.ones(len(y)), *columns])
    beta, *_ = np.linalg.lstsq(design, y, rcond=None)
    residuals = y - design @ beta
    df = len(y) - design.shape[1]
    sigma = float(np.sqrt(residuals @ residuals / df))
    errors = sigma * np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
    return {
        "coefficients": beta.tolist(),
        "intervals": [interval(b, e, df) for b, e in zip(beta, errors)],
        "sigma": sigma,
        "residuals": residuals.tolist(),
        "r2": float(1 - residuals @ residuals / np.sum((y - y.mean()) ** 2)),
        "r2_about_zero": float(1 - residuals @ residuals / np.sum(y**2)),
    }


def line_case(name, x, y):
    expected = least_squares([x], y)
    fit = stats.linregress(x, y)
    assert np.isclose(fit.slope, expected["coefficients"][1], rtol=1e-10)
    assert np.isclose(fit.rvalue**2, expected["r2"], rtol=1e-9)
    at = float(x.max() * 1.5)
    df, centre = len(x) - 2, float(np.polyval([fit.slope, fit.intercept], at))
    leverage = 1 / len(x) + (at - x.mean()) ** 2 / np.sum((x - x.mean()) ** 2)
    expected["mean_band"] = interval(centre, expected["sigma"] * np.sqrt(leverage), df)
    expected["prediction_band"] = interval(centre, expected["sigma"] * np.sqrt(1 + leverage), df)
    return {"id": f"line/{name}", "inputs": {"x": x.tolist(), "y": y.tolist(), "at": at}, "expected": expected}


def lines(rng):
    # Noise without any trend: a wrong SST shows here first. Far from 0, where R² about 0 is near 1.
    for n in (7, 30, 200):
        yield line_case(f"noise_{n}", rng.uniform(1, 6, n), 5 + 0.3 * rng.standard_normal(n))
    x = np.log([0.103, 5.037, 25.016, 45.171, 51.476, 74.825, 96.088])
    yield line_case("steep_7", x, 1 + 0.8 * x + 0.2 * rng.standard_normal(7))
    yield line_case("three", np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.5, 5.0]))


def planes(rng):
    params = np.array([0.103, 5.037, 25.016, 45.171, 51.476, 74.825, 96.088])
    layers = np.array([2.0, 12, 3, 6, 8, 5, 8])
    for name, noise in (("clear", 0.05), ("noisy", 0.6)):
        y = np.exp(1 + 0.3 * np.log(params) + 0.5 * np.log(layers) + noise * rng.standard_normal(7))
        logs = [np.log(params), np.log(layers)]
        expected = least_squares(logs, np.log(y))
        scaled = np.column_stack([(c - c.mean()) / c.std() for c in logs])
        expected["condition_number"] = float(np.linalg.cond(scaled))
        inputs = {"x1": params.tolist(), "x2": layers.tolist(), "y": y.tolist()}
        yield {"id": f"plane/{name}", "inputs": inputs, "expected": expected}


def summaries(rng):
    for n in (4, 7, 20, 120):
        values = np.exp(2 + 0.5 * rng.standard_normal(n))
        q1, q3 = np.percentile(values, [25, 75])
        fence = 1.5 * (q3 - q1)
        expected = {
            "median": float(np.median(values)),
            "mean": float(values.mean()),
            "sd": float(values.std(ddof=1)),
            "geometric_mean": float(stats.gmean(values)),
            "cv": float(stats.variation(values, ddof=1)),
            "outliers": int(np.sum((values < q1 - fence) | (values > q3 + fence))),
            "q10": float(np.percentile(values, 10)),
            "p95": float(np.percentile(values, 95)) if n >= 20 else None,
            "p99": float(np.percentile(values, 99)) if n >= 100 else None,
        }
        yield {"id": f"summary/{n}", "inputs": {"values": values.tolist()}, "expected": expected}


def ranks(rng):
    for name, x, y in (
        ("ties_12", rng.integers(0, 5, 12), rng.integers(0, 5, 12)),
        ("plain_40", rng.uniform(size=40), rng.uniform(size=40)),
        ("ties_4", np.array([1, 2, 2, 3]), np.array([5, 7, 6, 6])),
    ):
        found = stats.spearmanr(x, y)
        expected = {"rho": float(found.statistic), "p_t": float(found.pvalue), "p_exact": None}
        if len(x) <= 9:
            exact = stats.permutation_test(
                (x,), lambda a: stats.spearmanr(a, y).statistic, permutation_type="pairings", n_resamples=np.inf
            )
            expected["p_exact"] = float(exact.pvalue)
        inputs = {"x": x.astype(float).tolist(), "y": y.astype(float).tolist()}
        yield {"id": f"rank/{name}", "inputs": inputs, "expected": expected}


def tests(rng):
    groups = [rng.normal(m, s, n) for m, s, n in ((5, 0.5, 6), (5.6, 1.5, 9), (6.2, 0.8, 5))]
    a, b = groups[:2]
    pooled = np.sqrt((5 * a.var(ddof=1) + 8 * b.var(ddof=1)) / 13)
    expected = {
        "student_p": float(stats.ttest_ind(a, b).pvalue),
        "welch_p": float(stats.ttest_ind(a, b, equal_var=False).pvalue),
        "welch_df": float(stats.ttest_ind(a, b, equal_var=False).df),
        "cohen_d": float((b.mean() - a.mean()) / pooled),
        "anova_f": float(stats.f_oneway(*groups).statistic),
        "anova_p": float(stats.f_oneway(*groups).pvalue),
    }
    yield {"id": "groups/three", "inputs": {"groups": [g.tolist() for g in groups]}, "expected": expected}


def students():
    for df in (0.7, 1, 1.05, 2, 3.7, 5, 8, 29, 200):
        expected = {
            "critical": {str(level): float(stats.t.ppf((1 + level) / 2, df)) for level in (0.5, 0.95, 0.999)},
            "p": {str(t): float(2 * stats.t.sf(t, df)) for t in (0.01, 1.0, 4.5, 20.0)},
        }
        yield {"id": f"student/{df}", "inputs": {"df": df}, "expected": expected}


def ar1_covariance(n, rho):
    return rho ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))


def assumed_rho(residuals, fitted):
    """The autocorrelation the intervals reckon with: corrected for bias, drawn towards 0.3."""
    n = len(residuals)
    if n <= 6:
        return 0.3
    r = residuals[1:] @ residuals[:-1] / (residuals @ residuals)
    return (n * min(max((n * r + fitted) / (n - 4), 0), 0.95) + 10 * 0.3) / (n + 10)


def series(rng):
    """Autocorrelation, location and drift, with the variances written out as matrices."""
    for n in (5, 12, 60):
        noise = np.linalg.cholesky(ar1_covariance(n, 0.5)) @ rng.standard_normal(n)
        values = 20 * np.exp(0.05 * noise + 0.002 * np.arange(n))
        y = np.log(values)
        centred = y - y.mean()
        rho = assumed_rho(centred, 1)
        ones = np.ones(n) / n
        covariance = ar1_covariance(n, rho)
        inflation = n * (ones @ covariance @ ones)
        keep = np.eye(n) - np.outer(np.ones(n), ones)
        variance = centred @ centred / np.trace(keep @ covariance)
        location = interval(y.mean(), np.sqrt(variance * (ones @ covariance @ ones)), n / inflation - 1)

        design = np.column_stack([np.ones(n), np.arange(n)])
        solve = np.linalg.inv(design.T @ design) @ design.T
        slope = (solve @ y)[1]
        residuals = y - design @ (solve @ y)
        covariance = ar1_covariance(n, assumed_rho(residuals, 2))
        variance = residuals @ residuals / np.trace((np.eye(n) - design @ solve) @ covariance)
        slope_variance = (solve @ covariance @ solve.T)[1, 1]
        slope_inflation = slope_variance / (solve @ solve.T)[1, 1]
        df = max(n / slope_inflation - 2, 1)
        expected = {
            "autocorrelation": float(centred[1:] @ centred[:-1] / (centred @ centred)),
            "rho1": float(rho),
            "n_effective": float(n / inflation),
            "estimate": float(np.exp(y.mean())),
            "interval": np.exp(location).tolist(),
            "relative_change": float(np.expm1(slope * (n - 1))),
            "drift_p": float(2 * stats.t.sf(abs(slope) / np.sqrt(variance * slope_variance), df)),
        }
        yield {"id": f"series/{n}", "inputs": {"values": values.tolist()}, "expected": expected}


def main():
    rng = np.random.default_rng(20260101)
    cases = [*lines(rng), *planes(rng), *summaries(rng), *ranks(rng), *tests(rng), *students(), *series(rng)]
    made_with = {"numpy": np.__version__, "scipy": scipy.__version__}
    OUT.write_text(json.dumps({"made_with": made_with, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
