//! What published reports conclude of their machines, in words of our own.

use crate::terms::Mode;
use crate::terms::claim::{Assertion, Claim};

/// Claims that every run is held against; which report each is from stands in its name.
#[must_use]
pub fn published() -> Vec<Claim> {
    let mut claims = of_phases();
    claims.extend(of_engines());
    claims
}

fn claim(name: &str, text: &str, asserts: Assertion) -> Claim {
    Claim { name: name.to_owned(), text: text.to_owned(), asserts }
}

/// How the phases grow and relate on any engine.
fn of_phases() -> Vec<Claim> {
    let grows = |phase| Assertion::Grows { phase, from: 0.0, to: 100.0 };
    vec![
        claim(
            "tr121-size-predicts-prefill",
            "A prefill's time grows with the model's size by a power law.",
            grows(Mode::Prefill),
        ),
        claim(
            "tr121-size-predicts-decode",
            "Decode's time grows with the model's size by a power law.",
            grows(Mode::KvDecode),
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
    ]
}

/// What an engine gains by a compiler or a cache, or against another.
fn of_engines() -> Vec<Claim> {
    vec![
        claim(
            "tr120-compiling-helps-prefill",
            "Compiled code prefills in less time.",
            Assertion::CompiledFaster { phase: Mode::Prefill },
        ),
        claim(
            "tr123-compiling-helps-decode",
            "Compiled code decodes in less time.",
            Assertion::CompiledFaster { phase: Mode::KvDecode },
        ),
        claim(
            "tr123-cache-helps-decode",
            "Decode with a KV cache is faster than without.",
            Assertion::CacheHelps { by: 1.0 },
        ),
        claim(
            "tr123-cache-is-as-in-theory",
            "Engines allocate for the KV cache what its formula says.",
            Assertion::KvAsTheory,
        ),
        claim(
            "tr119-onnx-runtime-prefills-faster",
            "ONNX Runtime prefills in less time than PyTorch.",
            Assertion::Faster {
                engine: "ONNX Runtime".to_owned(),
                than: "PyTorch".to_owned(),
                phase: Mode::Prefill,
                by: 1.0,
            },
        ),
        claim(
            "tr119-onnx-runtime-decodes-faster",
            "ONNX Runtime decodes in less time than PyTorch.",
            Assertion::Faster {
                engine: "ONNX Runtime".to_owned(),
                than: "PyTorch".to_owned(),
                phase: Mode::KvDecode,
                by: 1.0,
            },
        ),
        claim("tr122-energy-can-be-quoted", "Energy is known well enough to be quoted.", Assertion::EnergyGraded),
    ]
}
