//! A loaded model that answers calls.

use std::collections::BTreeMap;

use ort::session::RunOptions;

use super::forward::{ForwardError, LoadedGraph, cache_size};
use super::generate::{Progress, generate};
use super::tensorrt::{Engines, built_inside};
use super::{error_text, probe};
use crate::backend::cancel::{CancelToken, Deadline, Waited};
use crate::backend::{BackendError, Call, Failure, LoadReport, Memory, Outcome, Probed, Reply, Session, watch};
use crate::clock::SharedClock;
use crate::process::MemoryStretch;
use crate::terms::{Attribution, Degraded, Finish, Procedure};
use crate::units::Nanos;

/// What a model accepts, checked before a call: the runtime's kernels for devices do not check ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Longest sequence.
    pub context: usize,
    /// Token ids are below this.
    pub vocabulary: usize,
}

/// A loaded model in this process.
pub struct OnnxSession {
    /// The graph.
    pub graph: LoadedGraph,
    /// The run's clock.
    pub clock: SharedClock,
    /// What the model accepts.
    pub bounds: Bounds,
    /// What the load proved.
    pub report: LoadReport,
    /// Whether errors of the runtime leave the device in an unknown state.
    pub on_device: bool,
    /// Engines of TensorRT, as far as this program keeps them. They stay as long as the session does.
    pub(super) engines: Option<Engines>,
}

impl Session for OnnxSession {
    fn loaded(&self) -> &LoadReport {
        &self.report
    }

    fn call(&mut self, call: &Call, by: Deadline, cancel: &CancelToken) -> Outcome {
        if let Err(why) = check(call, self.bounds) {
            return refused(&why);
        }
        let options = match RunOptions::new() {
            Ok(options) => options,
            Err(error) => return refused(&error_text(&error)),
        };
        let mut progress = Progress::default();
        let engines = self.engines.as_ref().map(Engines::written);
        let memory = MemoryStretch::begin();
        let stop = || drop(options.terminate());
        let (result, waited) =
            watch::watched(by, cancel, stop, || generate(&mut self.graph, call, &*self.clock, &options, &mut progress));
        let reply = self.reply(call, progress, result.is_ok(), memory);
        let failure = match result {
            Ok(()) => fallen_back(&reply.attribution).or_else(|| {
                let after = self.engines.as_ref()?.written();
                built_inside(&engines?, &after)
            }),
            Err(error) => Some(failure(&error.to_string(), waited, by)),
        };
        let session_usable = failure.as_ref().is_none_or(|failure| match failure.kind {
            Degraded::Oom => false,
            Degraded::Error => !self.on_device,
            _ => true,
        });
        Outcome { reply: Some(reply), failure, session_usable }
    }

    fn probe(&mut self, call: &Call, top: u32, by: Deadline) -> Option<Result<Probed, Failure>> {
        Some(self.probed(call, top, by))
    }

    fn engine_pids(&self) -> Vec<u32> {
        Vec::new()
    }

    fn close(self: Box<Self>) -> Result<(), BackendError> {
        Ok(())
    }
}

impl OnnxSession {
    /// Logits per row and step: after the prompt, then after each of the row's `fed` tokens on the KV cache.
    /// All rows are fed equally many. Prompts are padded on the left to the longest, or to `padded_to` if that is more.
    ///
    /// # Errors
    /// The runtime's words.
    pub fn teacher_forced(
        &mut self,
        prompts: &[Vec<u32>],
        padded_to: usize,
        fed: &[&[u32]],
    ) -> Result<Vec<Vec<Vec<f32>>>, ForwardError> {
        probe::teacher_forced(&mut self.graph, &*self.clock, prompts, padded_to, fed)
    }

    /// Makes a call, then tells for each of its tokens which were the most probable ones, on the KV cache.
    fn probed(&mut self, call: &Call, top: u32, by: Deadline) -> Result<Probed, Failure> {
        let error = |why: &str| Failure::new(Degraded::Error, why);
        if call.procedure == Procedure::Uncached {
            return Err(error("a generation without a cache is not probed"));
        }
        let outcome = self.call(call, by, &CancelToken::default());
        if let Some(failure) = outcome.failure {
            return Err(failure);
        }
        let tokens = outcome.reply.unwrap_or_default().tokens;
        // What the last pass chose is never fed in.
        let fed: Vec<&[u32]> = tokens.iter().map(|row| row.split_last().map_or(&[][..], |(_, fed)| fed)).collect();
        let padded_to = usize::try_from(call.padded_to).unwrap_or(usize::MAX);
        let logits = self.teacher_forced(&call.prompts, padded_to, &fed).map_err(|why| error(&why.to_string()))?;
        probe::most_probable(&logits, top)
    }

    fn reply(&self, call: &Call, progress: Progress, whole: bool, memory: MemoryStretch) -> Reply {
        let (kv, device) = cache_size(&progress.cache);
        let (host_rss, host_peak) = memory.resident();
        let mut attribution = self.report.attribution.clone();
        if let Some(device) = device.filter(|_| kv.is_some()) {
            attribution.evidence.shown.insert("kv_cache.memory".to_owned(), device);
        }
        let rows = call.prompts.len();
        let tokens: Vec<Vec<u32>> = (0..rows)
            .map(|row| progress.tokens.iter().skip(row).step_by(rows).map(|&id| token(id)).collect())
            .collect();
        let outside = progress.outside.iter().copied().reduce(|a, b| a + b);
        let mut engine_durations = BTreeMap::new();
        if let Some(median) = median(progress.outside) {
            engine_durations.insert("step_outside_run_median".to_owned(), median);
        }
        Reply {
            round_trip: None,
            scripted_foreign_cpu: None,
            spans: progress.spans,
            engine_durations,
            steps_timed: u32::try_from(progress.step_ends.len()).unwrap_or(u32::MAX),
            prompt_tokens: Some(call.prompts.iter().map(|row| count(row.len())).collect()),
            prompt_cached: None,
            new_tokens: tokens.iter().map(|row| count(row.len())).collect(),
            tokens,
            finish: Some(if whole { Finish::Length } else { Finish::Interrupted }),
            attribution,
            step_ends: progress.step_ends,
            compile: Vec::new(),
            outside_engine: outside,
            memory: Memory {
                host_rss,
                host_peak,
                device_used: None,
                kv: kv.filter(|_| call.procedure != Procedure::Uncached),
            },
        }
    }
}

/// Whether the model can take the call.
fn check(call: &Call, bounds: Bounds) -> Result<(), String> {
    if call.prompts.is_empty() {
        return Err("the call has no prompts".to_owned());
    }
    let mut longest = 0;
    for (row, prompt) in call.prompts.iter().enumerate() {
        if prompt.is_empty() {
            return Err(format!("prompt {row} is empty"));
        }
        if let Some(id) = prompt.iter().find(|&&id| id as usize >= bounds.vocabulary) {
            return Err(format!("prompt {row}: token {id} is not below the vocabulary of {}", bounds.vocabulary));
        }
        longest = longest.max(prompt.len());
    }
    if (call.padded_to as usize) < longest {
        return Err(format!("a prompt of {longest} tokens does not fit into rows padded to {}", call.padded_to));
    }
    let new = match call.procedure {
        Procedure::Prefill => 0,
        // What the last pass chooses is never fed in.
        Procedure::PrefillDecode => call.steps as usize,
        Procedure::Uncached => (call.steps as usize).saturating_sub(1),
    };
    if longest + new > bounds.context {
        return Err(format!(
            "{longest} prompt tokens and {new} fed back exceed the model's context of {} tokens",
            bounds.context
        ));
    }
    Ok(())
}

fn refused(why: &str) -> Outcome {
    Outcome { reply: None, failure: Some(Failure::new(Degraded::Error, why)), session_usable: true }
}

/// What a failed call or load is recorded as.
pub(super) fn failure(message: &str, waited: Waited, by: Deadline) -> Failure {
    match waited {
        Waited::Cancelled => Failure::new(Degraded::Incomplete, "cancelled"),
        Waited::TimedOut => {
            let limit = Nanos::from(by.0);
            Failure::new(Degraded::Timeout, &format!("stopped at the deadline of {limit}"))
        }
        Waited::Done => Failure::new(kind(message), message),
    }
}

/// The runtime has no error code for memory; its messages name it.
fn kind(message: &str) -> Degraded {
    const OUT_OF_MEMORY: [&str; 6] = [
        "failed to allocate memory",
        "bad_alloc",
        "bad allocation",
        "out of memory",
        "available memory of",
        "alloc_failed",
    ];
    let message = message.to_lowercase();
    let out_of_memory = OUT_OF_MEMORY.iter().any(|words| message.contains(words));
    if out_of_memory { Degraded::Oom } else { Degraded::Error }
}

/// Nodes that compute elsewhere are a failure; where nothing tells where they ran, the call stands unproven.
fn fallen_back(attribution: &Attribution) -> Option<Failure> {
    let elsewhere = attribution.evidence.off_provider_ops.as_deref()?;
    let message = format!("not everything ran on {}: {elsewhere}", attribution.requested);
    Some(Failure::new(Degraded::Fallback, &message))
}

fn median(mut values: Vec<Nanos>) -> Option<Nanos> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// Tokens come from an arg-max over the vocabulary, whose size is a 32-bit number.
fn token(id: i64) -> u32 {
    u32::try_from(id).unwrap_or(u32::MAX)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::placement::{Proof, attribution};
    use super::super::raw::Node;
    use super::*;
    use crate::scenario::Provider;

    fn call(procedure: Procedure, prompts: Vec<Vec<u32>>, padded_to: u32, steps: u32) -> Call {
        Call {
            procedure,
            scenario: "test".to_owned(),
            prompts,
            texts: None,
            padded_to,
            steps,
            index: 0,
            attempt: 0,
            seed: 0,
        }
    }

    #[test]
    fn what_the_model_cannot_take_is_refused_with_its_limit() {
        let bounds = Bounds { context: 8, vocabulary: 100 };
        let six = vec![1; 6];
        for (call, expected) in [
            (call(Procedure::Prefill, vec![], 1, 0), Err("the call has no prompts")),
            (call(Procedure::Prefill, vec![six.clone(), vec![]], 6, 0), Err("prompt 1 is empty")),
            (
                call(Procedure::Prefill, vec![vec![1, 100]], 2, 0),
                Err("prompt 0: token 100 is not below the vocabulary of 100"),
            ),
            (
                call(Procedure::Prefill, vec![six.clone()], 5, 0),
                Err("a prompt of 6 tokens does not fit into rows padded to 5"),
            ),
            (call(Procedure::PrefillDecode, vec![six.clone()], 6, 2), Ok(())),
            (
                call(Procedure::PrefillDecode, vec![six.clone()], 6, 3),
                Err("6 prompt tokens and 3 fed back exceed the model's context of 8 tokens"),
            ),
            (call(Procedure::Uncached, vec![six.clone()], 6, 3), Ok(())),
            (call(Procedure::Prefill, vec![six], 6, 99), Ok(())),
        ] {
            assert_eq!(check(&call, bounds), expected.map_err(str::to_owned));
        }
    }

    #[test]
    fn messages_about_memory_are_out_of_memory() {
        for (message, expected) in [
            ("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 8", Degraded::Oom),
            ("std::bad_alloc", Degraded::Oom),
            ("CUDA failure 2: out of memory ; GPU=0", Degraded::Oom),
            ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED", Degraded::Oom),
            ("indices element out of data bounds, idx=9", Degraded::Error),
        ] {
            assert_eq!(kind(message), expected, "{message}");
        }
    }

    #[test]
    fn a_part_that_fell_back_is_a_fallback_and_no_proof_is_none() {
        let node = |provider: &str, operator: &str| Node {
            provider: provider.to_owned(),
            name: "h.0/x".to_owned(),
            operator: operator.to_owned(),
        };
        let mixed = vec![node("OpenVINOExecutionProvider", "MatMul"), node("CPUExecutionProvider", "Softmax")];
        for proof in [Proof::Assigned(mixed.clone()), Proof::Profiled(mixed)] {
            let failure = fallen_back(&attribution(Provider::Openvino, &proof)).map(|failure| failure.to_string());
            let expected = "fallback: not everything ran on OpenVINOExecutionProvider: Softmax×1";
            assert_eq!(failure.as_deref(), Some(expected));
        }
        let unproven = attribution(Provider::Openvino, &Proof::None("no room for a profile".to_owned()));
        assert_eq!((unproven.actual.as_deref(), fallen_back(&unproven)), (None, None));
    }

    #[test]
    fn who_stopped_the_call_decides_its_kind() {
        let by = Deadline(std::time::Duration::from_secs(2));
        let words = "Exiting due to terminate flag being set to true.";
        assert_eq!(failure(words, Waited::TimedOut, by).to_string(), "timeout: stopped at the deadline of 2.0 s");
        assert_eq!(failure(words, Waited::Cancelled, by).to_string(), "incomplete: cancelled");
        assert_eq!(failure(words, Waited::Done, by).kind, Degraded::Error);
    }
}
