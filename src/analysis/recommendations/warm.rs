//! Whether a model must be kept loaded.

use crate::analysis::cold_starts::{COLD_STARTS_LONG, ColdStart, Prompt, cold_starts};
use crate::analysis::loads::LoadBreakdown;
use crate::analysis::metrics::Metrics;
use crate::analysis::summary::Summary;
use crate::analysis::table::{Sources, Table as _};
use crate::units::significant;

use super::row::{RecommendationRow, Standing, Topic};

/// One row per backend and model.
pub(super) fn recommend(from: &Sources<'_>) -> Vec<RecommendationRow> {
    let (loads, metrics, summary) = (from.rows::<LoadBreakdown>(), from.rows::<Metrics>(), from.rows::<Summary>());
    let starts = cold_starts(&loads, &metrics, &summary);
    let of_a_pool = |a: &ColdStart, b: &ColdStart| a.model == b.model && a.backend == b.backend;
    starts.chunk_by(of_a_pool).map(row).collect()
}

/// Of one model on one backend, prompt by prompt.
fn row(starts: &[ColdStart]) -> RecommendationRow {
    let prompts: Vec<(Prompt, Option<bool>)> =
        starts.iter().map(|start| (start.prompt.clone(), start.is_long())).collect();
    let (standing, advice) = by_prompt(&prompts);
    let mut figures: Vec<String> = starts.iter().map(told).collect();
    figures.push(format!("the limit is {COLD_STARTS_LONG}"));
    RecommendationRow {
        topic: Topic::WarmPool,
        about: format!("{} on {}", starts[0].model, starts[0].backend),
        standing,
        advice,
        figures: Some(figures.join("; ")),
        rows: [LoadBreakdown::FILE, Summary::FILE].join("; "),
        overturned_by:
            "weights that are not in the page cache; a limit on the time to the first token that a cold start keeps"
                .to_owned(),
    }
}

/// What a cold start takes with one prompt.
fn told(start: &ColdStart) -> String {
    let (prompt, ratio) = (&start.prompt, significant(start.ratio(), 3));
    match start.cold_ms {
        Some(cold_ms) => {
            let wait = significant(cold_ms / 1e3, 3);
            format!("with {prompt} a cold start takes {wait} s, {ratio} times a warm prefill")
        }
        None => format!("with {prompt}, which came first after no load, at least {ratio} times a warm prefill"),
    }
}

/// Whether to keep a model loaded, by whether a cold start with each prompt takes more than [`COLD_STARTS_LONG`] warm prefills; of
/// some it is not known. Decided where all agree.
#[must_use]
pub fn by_prompt(prompts: &[(Prompt, Option<bool>)]) -> (Standing, String) {
    let named = |wanted: Option<bool>| -> String {
        let own = prompts.iter().filter(|(_, is_long)| *is_long == wanted);
        own.map(|(prompt, _)| prompt.to_string()).collect::<Vec<_>>().join(", ")
    };
    let (keep, let_go, unknown) = (named(Some(true)), named(Some(false)), named(None));
    let open = if unknown.is_empty() { String::new() } else { format!("; not known of {unknown}") };
    match (keep.is_empty(), let_go.is_empty(), unknown.is_empty()) {
        (true, true, _) => (
            Standing::NotSeparated,
            format!("it is not known whether a cold start takes more than {COLD_STARTS_LONG} warm prefills"),
        ),
        (false, true, true) => (
            Standing::Decided,
            format!("keep it loaded: a cold start takes more than {COLD_STARTS_LONG} warm prefills"),
        ),
        (true, false, true) => (Standing::Decided, "it may be loaded when it is asked for".to_owned()),
        (false, false, _) => (
            Standing::NotSeparated,
            format!(
                "it depends on the prompt: keep it loaded for {keep}; it may be loaded when it is asked for with \
                 {let_go}{open}"
            ),
        ),
        (false, true, false) => (Standing::Hint, format!("keep it loaded for {keep}{open}")),
        (true, false, false) => (Standing::Hint, format!("it may be loaded when it is asked for with {let_go}{open}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two prompts that disagree decide nothing, whichever came first more often; one that is not known keeps it a hint.
    #[test]
    fn a_pool_is_decided_where_its_prompts_agree() {
        let asked = |long: &[Option<bool>]| {
            let prompt = |(place, is_long): (usize, &Option<bool>)| {
                (Prompt { scenario: format!("p{place}"), batch: if place == 0 { 1 } else { 8 } }, *is_long)
            };
            by_prompt(&long.iter().enumerate().map(prompt).collect::<Vec<_>>())
        };
        let (yes, no) = (Some(true), Some(false));
        for (long, standing, advice) in [
            (&[yes, yes][..], Standing::Decided, "keep it loaded: a cold start takes more than 10 warm prefills"),
            (&[no, no][..], Standing::Decided, "it may be loaded when it is asked for"),
            (
                &[yes, no][..],
                Standing::NotSeparated,
                "it depends on the prompt: keep it loaded for p0; it may be loaded when it is asked for with p1 × 8",
            ),
            (&[yes, None][..], Standing::Hint, "keep it loaded for p0; not known of p1 × 8"),
            (&[None, no][..], Standing::Hint, "it may be loaded when it is asked for with p1 × 8; not known of p0"),
            (
                &[None][..],
                Standing::NotSeparated,
                "it is not known whether a cold start takes more than 10 warm prefills",
            ),
        ] {
            assert_eq!(asked(long), (standing, advice.to_owned()), "{long:?}");
        }
    }
}
