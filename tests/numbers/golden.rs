//! `stats` against the published figures (`cases.json`) and against NumPy and SciPy (`stats.json`, made by
//! `scripts/make_golden.py`). A case of a family of ours that no check handles fails the test.

mod case;
mod numpy;
mod published;
