//! Engines against a reference: the same prompts, the same ids, and log-probabilities step by step.
//!
//! A `reference.json` holds what an independent implementation computed for a model folder. The engine is fed the
//! reference's own ids, so that every step is comparable even after a disagreement.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Error, Result, bounded};

/// One prompt of a `reference.json` and its greedy continuation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// The text, for people.
    pub prompt: String,
    /// Its ids, bos included.
    pub prompt_ids: Vec<u32>,
    /// The greedy steps; the first falls out of the prefill.
    pub steps: Vec<Step>,
}

/// What follows one position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The most probable token, which the next step continues from.
    pub token: u32,
    /// The most probable tokens, best first.
    pub top_ids: Vec<u32>,
    /// Their natural log-probabilities.
    pub top_logprobs: Vec<f64>,
}

/// How far an engine is from a reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Largest absolute difference of a log-probability.
    pub largest_difference: f64,
    /// The step it was found at, from 0.
    pub step: usize,
    /// The token it was found at.
    pub token: u32,
    /// At every step the engine ranks the reference's best tokens as the reference does.
    pub same_order: bool,
    /// At every step the engine's most probable token is the reference's.
    pub same_greedy_tokens: bool,
}

/// Reads a `reference.json`.
///
/// # Errors
/// The file is missing, malformed, or a step has not as many ids as log-probabilities.
pub fn read(path: &Path) -> Result<Vec<Reference>> {
    let text = bounded::bytes(path, bounded::REFERENCE)?;
    let references: Vec<Reference> = serde_json::from_slice(&text).map_err(|e| Error::malformed(path, e))?;
    for reference in &references {
        for (n, step) in reference.steps.iter().enumerate() {
            if step.top_ids.is_empty() || step.top_ids.len() != step.top_logprobs.len() {
                let message = format!(
                    "prompt {:?}, step {n}: {} ids and {} log-probabilities, expected as many of each and at least one",
                    reference.prompt,
                    step.top_ids.len(),
                    step.top_logprobs.len()
                );
                return Err(Error::malformed(path, message));
            }
        }
    }
    Ok(references)
}

/// Compares an engine's logits, one row per step, with the reference's steps. Only as many steps as both have.
///
/// `None`: nothing to compare, or a row is too short to hold one of the reference's tokens, or holds no number.
#[must_use]
pub fn compare(reference: &[Step], logits: &[Vec<f32>]) -> Option<Agreement> {
    let mut found: Option<Agreement> = None;
    let mut rows = Vec::new();
    for (step, (expected, row)) in reference.iter().zip(logits).enumerate() {
        let row = log_softmax(row)?;
        for (&id, &logprob) in expected.top_ids.iter().zip(&expected.top_logprobs) {
            let difference = (row.get(id as usize)? - logprob).abs();
            if difference.is_nan() {
                return None;
            }
            if found.is_none_or(|f| difference > f.largest_difference) {
                let whole = Agreement {
                    largest_difference: difference,
                    step,
                    token: id,
                    same_order: true,
                    same_greedy_tokens: true,
                };
                found = Some(whole);
            }
        }
        rows.push(row);
    }
    let mut agreement = found?;
    for (expected, row) in reference.iter().zip(&rows) {
        agreement.same_order &= agree_in_order(expected, row);
        agreement.same_greedy_tokens &= best(row) == Some(expected.token);
    }
    Some(agreement)
}

/// How far two engines are from each other where one tells only its most probable tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closeness {
    /// Steps compared, over all prompts.
    pub steps: usize,
    /// Log-probabilities compared.
    pub values: usize,
    /// Largest absolute difference of one.
    pub largest_difference: f64,
}

impl Closeness {
    /// Of one step: what one engine reports, and the other's log-probability of a token. `None`: no token in common.
    #[must_use]
    pub fn of(reported: &[(u32, f64)], other: impl Fn(u32) -> Option<f64>) -> Option<Self> {
        let differences = reported.iter().filter_map(|&(id, logprob)| Some((other(id)? - logprob).abs()));
        let (values, largest) = differences.fold((0, 0.0), |(n, largest), d| {
            // A difference that is no number must not pass for a small one.
            (n + 1, if d.is_nan() { f64::INFINITY } else { f64::max(largest, d) })
        });
        (values > 0).then_some(Self { steps: 1, values, largest_difference: largest })
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            steps: self.steps + other.steps,
            values: self.values + other.values,
            largest_difference: self.largest_difference.max(other.largest_difference),
        }
    }
}

/// The log-probabilities of a row of logits. `None`: empty or without a finite largest value.
#[must_use]
pub fn log_softmax(logits: &[f32]) -> Option<Vec<f64>> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !largest.is_finite() {
        return None;
    }
    let largest = f64::from(largest);
    let sum: f64 = logits.iter().map(|&x| (f64::from(x) - largest).exp()).sum();
    let shift = largest + sum.ln();
    Some(logits.iter().map(|&x| f64::from(x) - shift).collect())
}

/// True where the row ranks the step's tokens as the reference does.
fn agree_in_order(expected: &Step, row: &[f64]) -> bool {
    let ranked: Vec<_> = expected.top_ids.iter().map(|&id| row.get(id as usize)).collect();
    ranked.windows(2).all(|pair| pair[0] >= pair[1])
}

/// The id of the largest value, the first of equal ones.
fn best(row: &[f64]) -> Option<u32> {
    let mut best: Option<(usize, f64)> = None;
    for (id, &value) in row.iter().enumerate() {
        if best.is_none_or(|(_, largest)| value > largest) {
            best = Some((id, value));
        }
    }
    best.and_then(|(id, _)| u32::try_from(id).ok())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn step() -> Step {
        let total: f64 = [3.0_f64, 2.0, 1.0, 0.0].iter().map(|x| x.exp()).sum();
        let top_logprobs = vec![3.0 - total.ln(), 2.0 - total.ln(), 1.0 - total.ln()];
        Step { token: 2, top_ids: vec![2, 0, 3], top_logprobs }
    }

    #[test]
    fn equal_logits_agree_whatever_their_offset() {
        let rows = vec![vec![2.0, 0.0, 3.0, 1.0], vec![102.0, 100.0, 103.0, 101.0]];
        let agreement = compare(&[step(), step()], &rows).unwrap();
        assert!(agreement.largest_difference < 1e-12 && agreement.same_order && agreement.same_greedy_tokens);
    }

    #[test]
    fn a_difference_is_found_and_placed() {
        let rows = vec![vec![2.0, 0.0, 3.0, 1.0], vec![2.0, 0.0, 3.0, 1.25]];
        let agreement = compare(&[step(), step()], &rows).unwrap();
        assert_eq!((agreement.step, agreement.token), (1, 3));
        assert!((0.2..0.25).contains(&agreement.largest_difference), "{agreement:?}");
        assert!(agreement.same_order);
    }

    #[test]
    fn a_changed_order_is_a_disagreement() {
        let agreement = compare(&[step()], &[vec![2.6, 0.0, 2.5, 1.0]]).unwrap();
        assert!(!agreement.same_order && !agreement.same_greedy_tokens, "{agreement:?}");
        let agreement = compare(&[step()], &[vec![1.0, 0.0, 3.0, 2.0]]).unwrap();
        assert!(!agreement.same_order && agreement.same_greedy_tokens, "{agreement:?}");
    }

    #[test]
    fn what_cannot_be_compared_is_not_agreement() {
        assert_eq!(compare(&[step()], &[vec![1.0, 2.0]]), None);
        assert_eq!(compare(&[step()], &[vec![f32::NAN; 4]]), None);
        assert_eq!(compare(&[step()], &[]), None);
    }
}
