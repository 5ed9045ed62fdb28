//! `stats` against the published figures (`cases.json`) and against NumPy, SciPy and statsmodels (`stats.json` and
//! `tests.json`, made by `scripts/make_golden.py` and `scripts/verify_tests.py`). A case of a family of ours that no check
//! handles fails the test.

mod between_groups;
mod case;
mod money;
mod numpy;
mod published;
