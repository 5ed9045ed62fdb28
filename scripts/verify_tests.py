#!/usr/bin/env python3
"""Computes tests between groups with SciPy and statsmodels, for src/stats to be held against to 1e-9.

    pip install numpy==2.4.6 scipy==1.17.1 statsmodels==0.15.0
    scripts/verify_tests.py            writes tests/data/golden/tests.json
    scripts/verify_tests.py --check    computes everything again and compares it with that file

`cargo test --test numbers golden` then holds the program's own functions against the file. 200 inputs are random, 20
are nasty: ties, three values a side, groups without spread, values of 1e60 and of 1e-60, p values of 0 and 1. Sizes,
spreads and numbers of digits vary, so that some inputs have ties by rounding. What SciPy does not have is written anew
here: the Hodges-Lehmann shift is the median of all differences, written out, and the ends of its interval are those
differences beyond which the counted or approximated distribution of U leaves 2.5 %.
"""

import functools
import json
import math
import pathlib
import sys

import numpy as np
import scipy
import statsmodels
from scipy import stats
from statsmodels.stats.multitest import multipletests

OUT = pathlib.Path(__file__).parent.parent / "tests" / "data" / "golden" / "tests.json"
LEVEL = 0.95
RANDOM, TOLERANCE = 200, 1e-9


def number(value):
    """As JSON has it: nothing where SciPy gives none."""
    value = float(value)
    return value if math.isfinite(value) else None


def varies(group):
    return max(group) - min(group) > 1e-12 * max(map(abs, group))


def two_groups(a, b):
    """Student, Welch and Cohen's d; nothing where neither group varies."""
    if not (varies(a) or varies(b)):
        return None
    student, welch = stats.ttest_ind(b, a), stats.ttest_ind(b, a, equal_var=False)
    pooled = ((len(a) - 1) * np.var(a, ddof=1) + (len(b) - 1) * np.var(b, ddof=1)) / (len(a) + len(b) - 2)
    return {
        "t": number(welch.statistic),
        "df": number(welch.df),
        "welch_p": number(welch.pvalue),
        "student_p": number(student.pvalue),
        "cohen_d": number((np.mean(b) - np.mean(a)) / math.sqrt(pooled)),
    }


@functools.cache
def orders(n, m, u):
    """Orders of n and m values with a U of u: the largest is one of the m, which lies above all n, or one of the n."""
    if u < 0 or n < 0 or m < 0:
        return 0
    if n == 0 or m == 0:
        return int(u == 0)
    return orders(n, m - 1, u - n) + orders(n - 1, m, u)


def place(n, m, exact):
    """Place of the outermost difference with at most 2.5 % beyond it; 0: there is none."""
    tail = (1 - LEVEL) / 2
    if not exact:
        deviation = math.sqrt(n * m * (n + m + 1) / 12)
        return max(0, math.floor(n * m / 2 + 0.5 - stats.norm.isf(tail) * deviation))
    found, beyond, total = 0, 0, math.comb(n + m, n)
    for u in range(n * m):
        beyond += orders(n, m, u)
        if beyond / total > tail:
            break
        found = u + 1
    return found


def check_end(a, b, differences, place):
    """The interval is what the test does not reject: a shift inside its lower end is kept, one outside is not."""
    end = differences[place - 1]
    near = [end - other for other in (differences[place - 2] if place > 1 else -math.inf, differences[place])]
    gap = min(map(abs, near)) / 3
    if gap < 1e-9 * np.abs(differences).max():
        return  # Differences that are apart by rounding alone.
    for shift, kept in ((end + gap, True), (end - gap, False)):
        p = stats.mannwhitneyu(np.subtract(b, shift), a, method="exact").pvalue
        assert (p > 1 - LEVEL) == kept, (a, b, p)


def by_order(a, b):
    exact = len(set([*a, *b])) == len(a) + len(b) and min(len(a), len(b)) <= 8 and len(a) * len(b) <= 2000
    found = stats.mannwhitneyu(b, a, alternative="two-sided", method="exact" if exact else "asymptotic")
    differences = np.sort(np.subtract.outer(b, a).ravel())
    outermost = place(len(a), len(b), exact)
    interval = [differences[outermost - 1], differences[-outermost]] if outermost else None
    if interval and exact:
        check_end(a, b, differences, outermost)
    return {
        "u": number(found.statistic),
        "p": number(found.pvalue),
        "exact": exact,
        "shift": number(np.median(differences)),
        "interval": interval and [number(end) for end in interval],
    }


def all_groups(groups):
    """One-way analysis of variance; nothing where no group varies."""
    if not any(varies(group) for group in groups):
        return None
    found = stats.f_oneway(*groups)
    return {"f": number(found.statistic), "p": number(found.pvalue)}


def kruskal(groups):
    if len(set(np.concatenate(groups))) == 1:
        return None
    found = stats.kruskal(*groups)
    return {"h": number(found.statistic), "p": number(found.pvalue)}


def case(name, groups, p):
    groups = [[float(value) for value in group] for group in groups]
    logs = [np.log(group).tolist() for group in groups]
    first, second = groups[:2]
    expected = {
        "plain": two_groups(first, second),
        "logs": two_groups(*logs[:2]),
        "by_order": by_order(first, second),
        "anova": all_groups(groups),
        "anova_logs": all_groups(logs),
        "kruskal": kruskal(groups),
        "holm": multipletests(p, method="holm")[1].tolist(),
        "benjamini_hochberg": multipletests(p, method="fdr_bh")[1].tolist(),
    }
    return {"id": name, "inputs": {"groups": groups, "p": [float(value) for value in p]}, "expected": expected}


def rounded(values, digits):
    return [float(f"{value:.{digits}g}") for value in values]


def random_cases(rng):
    for index in range(RANDOM):
        centre, spread = 10 ** rng.uniform(-2, 4), rng.choice([0.01, 0.05, 0.2, 0.8])
        digits = int(rng.choice([2, 3, 6]))
        groups = []
        for _ in range(rng.integers(2, 6)):
            size, shift = int(rng.integers(3, 24)), rng.choice([0.0, 0.0, 0.05, 0.5])
            groups.append(rounded(centre * np.exp(shift + spread * rng.standard_normal(size)), digits))
        # Two digits of a narrow spread may leave one value.
        if all(len(set(group)) == 1 for group in groups):
            groups[0][0] *= 1.5
        yield case(f"random/{index}", groups, rounded(rng.uniform(size=rng.integers(1, 12)) ** 3, 4))


def nasty_cases():
    rising, ties = [1.0, 2.0, 3.0], [1.0, 1.0, 2.0, 2.0, 2.0, 3.0]
    shuffled = [2.5, 1.25, 9.0, 4.0, 4.5, 0.125, 7.75]
    some = [0.001, 0.02, 0.03, 0.5]
    long = [1 + (index * 7919 % 101) / 50 for index in range(120)]
    yield case("three_apart", [rising, [4.0, 5.0, 6.0]], [0.04])
    yield case("three_mixed", [rising, [1.5, 2.5, 0.5]], [0.01, 0.01, 0.01])
    yield case("three_of_three", [rising, [4.0, 5.0, 6.5], [7.0, 8.0, 9.0]], [0.0, 1.0])
    yield case("two_and_many", [[3.5, 4.25], shuffled], [1.0, 1.0, 1.0])
    yield case("ties", [ties, [value + 1 for value in ties]], [0.02, 0.02, 0.04, 0.04])
    yield case("all_tied_but_one", [[1.0] * 5, [1.0, 1.0, 1.0, 1.0, 2.0]], some)
    yield case("constant_and_equal", [[2.0] * 4, [2.0] * 6, [2.0] * 3], some)
    yield case("constant_and_apart", [[2.0] * 4, [3.0] * 5], some)
    yield case("constant_not_to_the_last_digit", [[0.1] * 3, [0.3] * 3], some)
    yield case("one_constant", [[2.0] * 8, shuffled], some)
    yield case("huge", [[value * 1e60 for value in shuffled], [value * 1.1e60 for value in shuffled[:5]]], some)
    yield case("tiny", [[value * 1e-60 for value in shuffled], [value * 2e-60 for value in rising]], some)
    yield case("sizes_apart", [[1e-3, 1e3, 1e-2, 5.0], [1e5, 2.0, 3e-3]], some)
    yield case("on_a_high_floor", [[1e6 + value for value in shuffled], [1e6 + 3 + value for value in rising]], some)
    yield case("far_apart", [[1.0, 1.01, 0.99, 1.0, 1.02], [9.0, 9.1, 8.9, 9.05, 9.02]], [1e-300, 1e-10, 0.5])
    yield case("eight_and_many", [[*shuffled, 5.05], [value + 0.37 for value in long[:100]]], some)
    yield case("nine_a_side", [[*shuffled, 5.0, 6.5], [value + 0.75 for value in [*shuffled, 3.0, 9.5]]], some)
    yield case("long", [long, [value * 1.02 for value in long]], some)
    yield case("variances_apart", [[10.0, 10.001, 9.999, 10.002], [2.0, 30.0, 11.0, 0.5, 17.0, 8.0]], some)
    yield case("p_at_the_ends", [rising, shuffled], [0.0, 0.0, 1.0, 1.0, 0.5, 1e-17])


def differs(found, expected, where=""):
    """Where two values differ by more than the tolerance. Nothing: nowhere."""
    if isinstance(expected, dict) and isinstance(found, dict) and found.keys() == expected.keys():
        return next(filter(None, (differs(found[key], expected[key], f"{where}/{key}") for key in expected)), None)
    if isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected))
        return next(filter(None, (differs(a, b, f"{where}/{i}") for i, (a, b) in pairs)), None)
    if isinstance(expected, float) and isinstance(found, float):
        same = math.isclose(found, expected, rel_tol=TOLERANCE, abs_tol=0)
    else:
        same = found == expected
    return None if same else f"{where}: {found}, not {expected}"


def main():
    rng = np.random.default_rng(20261129)
    cases = [*random_cases(rng), *nasty_cases()]
    if "--check" in sys.argv[1:]:
        kept = json.loads(OUT.read_text())["cases"]
        wrong = differs(json.loads(json.dumps(cases)), kept)
        print(f"{len(kept)} inputs: {wrong or 'SciPy and statsmodels say what the file says'}")
        return int(wrong is not None)
    made_with = {module.__name__: module.__version__ for module in (np, scipy, statsmodels)}
    lines = ",\n".join(json.dumps(case) for case in cases)
    OUT.write_text(f'{{"made_with": {json.dumps(made_with)},\n"cases": [\n{lines}\n]}}\n')
    return 0


if __name__ == "__main__":
    sys.exit(main())
