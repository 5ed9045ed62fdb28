//! What published reports conclude of their machines, in words of our own.

use crate::terms::Mode;
use crate::terms::claim::{Assertion, Claim};

/// Claims that every run is held against; which report each is from stands in its name.
#[must_use]
pub fn published() -> Vec<Claim> {
    [of_synthesis(), of_tr123(), of_others()].concat()
}

fn claim(name: &str, text: &str, asserts: Assertion) -> Claim {
    Claim { name: name.to_owned(), text: text.to_owned(), asserts }
}

/// Time of a phase as a power law of size, of models in a range. Unit: millions of parameters.
fn grows(phase: Mode, smallest: Option<f64>, largest: Option<f64>) -> Assertion {
    Assertion::Grows { phase, from: 0.0, to: 100.0, smallest, largest }
}

/// The six claims that the synthesis of TR117 to TR122 holds its reports against; it finds some of them false.
fn of_synthesis() -> Vec<Claim> {
    vec![
        claim(
            "synthesis-c1-labels-are-reliable",
            "What a backend is called tells where and how it ran.",
            Assertion::AsLabelled,
        ),
        claim(
            "synthesis-c2-prefill-tells-of-all",
            "Prefill alone tells what an answer takes: it is half of its time or more.",
            Assertion::PrefillShare { at_least: 0.5 },
        ),
        claim(
            "synthesis-c3-time-drives-cost",
            "What tokens cost follows from their time: energy is a third of it at most.",
            Assertion::EnergyCost { at_most: 0.34 },
        ),
        claim(
            "synthesis-c4-size-predicts-small-models",
            "Of models of up to 100 million parameters, size alone predicts decode's time.",
            grows(Mode::KvDecode, None, Some(100.0)),
        ),
        claim(
            "synthesis-c5-size-predicts-large-models",
            "Of models of 200 million parameters and more, decode's time grows with size by a power law.",
            grows(Mode::KvDecode, Some(200.0), None),
        ),
        claim(
            "synthesis-c6-short-phases-have-their-energy",
            "The energy of each phase shorter than 100 ms is known as it comes.",
            Assertion::EnergyGraded { shorter_than_ms: Some(100.0) },
        ),
    ]
}

/// The seven claims of TR123.
fn of_tr123() -> Vec<Claim> {
    vec![
        claim(
            "tr123-cache-helps-decode",
            "Decode with a KV cache is faster than without.",
            Assertion::CacheHelps { by: 1.0 },
        ),
        claim(
            "tr123-compiling-helps-decode",
            "Compiled code decodes 1.2 times as fast or more.",
            Assertion::CompiledFaster { phase: Mode::KvDecode, by: 1.2 },
        ),
        claim(
            "tr123-grouped-heads-save-cache",
            "Grouped heads take a third of the KV cache of full ones or less.",
            Assertion::GroupedHeadsSave { by: 3.0 },
        ),
        claim(
            "tr123-energy-costs-little",
            "The machine is 66 % of what tokens cost or more, energy the rest.",
            Assertion::EnergyCost { at_most: 0.34 },
        ),
        claim(
            "tr123-own-hardware-saves",
            "A machine of one's own costs 95 % less by the hour than hire.",
            Assertion::OwnHardwareSaves { at_least: 0.95 },
        ),
        claim(
            "tr123-cache-is-as-in-theory",
            "Engines allocate for the KV cache what its formula says.",
            Assertion::KvAsTheory,
        ),
        claim(
            "tr123-prompt-tokens-are-cheap",
            "A prompt token takes a tenth of the time of one that is written, or less.",
            Assertion::PrefillCheaper { by: 10.0 },
        ),
    ]
}

/// Conclusions of the single reports before.
fn of_others() -> Vec<Claim> {
    let onnx_is_faster =
        |phase| Assertion::Faster { engine: "ONNX Runtime".to_owned(), than: "PyTorch".to_owned(), phase, by: 1.0 };
    vec![
        claim(
            "tr121-size-predicts-prefill",
            "A prefill's time grows with the model's size by a power law.",
            grows(Mode::Prefill, None, None),
        ),
        claim(
            "tr121-size-predicts-decode",
            "Decode's time grows with the model's size by a power law.",
            grows(Mode::KvDecode, None, None),
        ),
        claim(
            "tr121-decode-dominates",
            "Decode takes more than nine tenths of an answer's time.",
            Assertion::DecodeShare { at_least: 0.9 },
        ),
        claim(
            "tr121-cold-starts-are-long",
            "A cold start takes more than ten warm prefills.",
            Assertion::ColdStart { at_least: 10.0 },
        ),
        claim(
            "tr120-compiling-helps-prefill",
            "Compiled code prefills in less time.",
            Assertion::CompiledFaster { phase: Mode::Prefill, by: 1.0 },
        ),
        claim(
            "tr119-onnx-runtime-prefills-faster",
            "ONNX Runtime prefills in less time than PyTorch.",
            onnx_is_faster(Mode::Prefill),
        ),
        claim(
            "tr119-onnx-runtime-decodes-faster",
            "ONNX Runtime decodes in less time than PyTorch.",
            onnx_is_faster(Mode::KvDecode),
        ),
        claim(
            "tr122-energy-can-be-quoted",
            "Energy is known well enough to be quoted.",
            Assertion::EnergyGraded { shorter_than_ms: None },
        ),
    ]
}
