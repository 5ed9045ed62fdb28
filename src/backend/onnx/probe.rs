//! What a loaded graph says of every token, fed with given ones on the KV cache.

use ort::session::RunOptions;

use super::batch::Batch;
use super::forward::{ForwardError, LoadedGraph, Pass, logits};
use crate::backend::{Failure, Probed};
use crate::clock::Clock;
use crate::model::verify::log_softmax;
use crate::terms::Degraded;

/// For each token of rows of `logits` the most probable ones, best first.
///
/// # Errors
/// Logits that are no numbers.
pub(super) fn most_probable(logits: &[Vec<Vec<f32>>], top: u32) -> Result<Probed, Failure> {
    let best = |logits: &Vec<f32>| {
        let no_numbers = || Failure::new(Degraded::Error, "the logits are no numbers");
        let mut ranked: Vec<(u32, f64)> = (0..).zip(log_softmax(logits).ok_or_else(no_numbers)?).collect();
        ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        ranked.truncate(usize::try_from(top).unwrap_or(usize::MAX));
        Ok(ranked)
    };
    logits.iter().map(|row| row.iter().map(best).collect()).collect()
}

/// Logits per row and step: after the prompt, then after each of the row's `fed` tokens on the KV cache.
/// All rows are fed equally many. Prompts are padded on the left to the longest, or to `padded_to` if that is more.
///
/// # Errors
/// The runtime's words.
pub(super) fn teacher_forced(
    graph: &mut LoadedGraph,
    clock: &dyn Clock,
    prompts: &[Vec<u32>],
    padded_to: usize,
    fed: &[&[u32]],
) -> Result<Vec<Vec<Vec<f32>>>, ForwardError> {
    let length = prompts.iter().map(Vec::len).max().unwrap_or(0).max(padded_to);
    let steps = fed.iter().map(|tokens| tokens.len()).min().unwrap_or(0);
    let options = RunOptions::new()?;
    let mut batch = Batch::new(prompts, length, steps);
    let (mut past, mut present) = (graph.empty_cache(prompts.len())?, Vec::new());
    let mut found = vec![Vec::with_capacity(steps + 1); prompts.len()];
    for step in 0..=steps {
        if step > 0 {
            let tokens: Vec<_> = fed.iter().map(|row| i64::from(row[step - 1])).collect();
            batch.step(&tokens);
            std::mem::swap(&mut past, &mut present);
        }
        let pass = Pass { view: batch.view(), past: &past, options: &options, clock };
        let answer = graph.forward(&pass, &mut present)?;
        for (row, logits) in found.iter_mut().zip(logits(&answer.value, prompts.len())?) {
            row.push(logits);
        }
    }
    Ok(found)
}
