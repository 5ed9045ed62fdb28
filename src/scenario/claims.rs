//! Claims files: statements on engines that a run's rows are held against.

use std::path::Path;

use serde_json::Value;

use super::node::Node;
use super::problem::{Problem, ScenarioError};
use super::section::{Choice, Kind, Section, default, optional, required, words};
use super::typed::{duration, each, items, number, optional as maybe, owned, word};
use super::{consistency, read as reading, schema as schemas};
use crate::terms::claim::{Assertion, Claim};

/// A claims file.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// Names it in output.
    pub name: String,
    /// Never empty.
    pub claims: Vec<Claim>,
}

const PHASE: Kind = words(&["prefill", "kv_decode", "generate_uncached"]);
const TIMES: Kind = Kind::Number { min: 1.0, max: 1e9, above: false, below: false };
const SHARE: Kind = Kind::Number { min: 0.0, max: 1.0, above: true, below: false };
const MILLIONS: Kind = Kind::Number { min: 0.0, max: 1e9, above: true, below: false };
const SLOPE: Kind = Kind::Number { min: -100.0, max: 100.0, above: false, below: false };

const FASTER: Section = Section {
    what: "a claim that an engine is faster",
    choice: None,
    fields: &[
        required("engine", Kind::Text, "Name of a backend, or of its engine, such as `ONNX Runtime`."),
        required("than", Kind::Text, "The same of the other."),
        required("phase", PHASE, "In what."),
        default("by", TIMES, "1", "At least so many times as fast; 1: faster at all."),
    ],
};

const COMPILED: Section = Section {
    what: "a claim on compiling",
    choice: None,
    fields: &[
        required("phase", PHASE, "In what compiled code takes less time."),
        default("by", TIMES, "1", "At least so many times as fast; 1: faster at all."),
    ],
};

const GROWS: Section = Section {
    what: "a claim on growth",
    choice: None,
    fields: &[
        required("phase", PHASE, "Whose time is a power law of the models' size."),
        default("from", SLOPE, "0", "Least slope."),
        default("to", SLOPE, "100", "Largest slope."),
        optional("smallest", MILLIONS, "Smallest model that it is said of, in millions of parameters."),
        optional("largest", MILLIONS, "Largest one."),
    ],
};

const DECODE_SHARE: Section = Section {
    what: "a claim on decode's share",
    choice: None,
    fields: &[required("at_least", SHARE, "Share of an answer's time, 0 to 1.")],
};

const PREFILL_SHARE: Section = Section {
    what: "a claim on prefill's share",
    choice: None,
    fields: &[required("at_least", SHARE, "Share of an answer's time, 0 to 1.")],
};

const PREFILL_CHEAPER: Section = Section {
    what: "a claim on prompt tokens",
    choice: None,
    fields: &[default(
        "by",
        TIMES,
        "1",
        "A prompt token takes at least so many times less time than one that is written.",
    )],
};

const GROUPED_HEADS: Section = Section {
    what: "a claim on grouped heads",
    choice: None,
    fields: &[default("by", TIMES, "1", "They take at least so many times less KV cache per token.")],
};

const ENERGY_GRADED: Section = Section {
    what: "a claim on energy",
    choice: None,
    fields: &[optional(
        "shorter_than",
        Kind::Duration,
        "Of phases shorter than this, as they come; of all if not given, repeated for the sensor or not.",
    )],
};

const ENERGY_COST: Section = Section {
    what: "a claim on what energy costs",
    choice: None,
    fields: &[required("at_most", SHARE, "Share of what a million tokens cost, 0 to 1.")],
};

const OWN_HARDWARE: Section = Section {
    what: "a claim on a machine of one's own",
    choice: None,
    fields: &[required("at_least", SHARE, "Share that it costs less by the hour than the first tier, 0 to 1.")],
};

const COLD_START: Section = Section {
    what: "a claim on cold starts",
    choice: None,
    fields: &[required("at_least", TIMES, "How many warm prefills a cold start takes.")],
};

const CACHE_HELPS: Section = Section {
    what: "a claim on the KV cache",
    choice: None,
    fields: &[default("by", TIMES, "1", "Decode with a cache is at least so many times as fast as without.")],
};

const NOTHING: Section = Section { what: "a claim without parts", choice: None, fields: &[] };

const CLAIM: Section = Section {
    what: "a claim",
    choice: Some(Choice {
        what: "statement",
        keys: &[
            "faster",
            "compiled_faster",
            "grows",
            "decode_share",
            "prefill_share",
            "prefill_cheaper",
            "cold_start",
            "cache_helps",
            "kv_as_theory",
            "grouped_heads_save",
            "as_labelled",
            "energy_graded",
            "energy_cost",
            "own_hardware_saves",
        ],
    }),
    fields: &[
        required("name", Kind::Name, "Its name, unique in the file."),
        required("text", Kind::Text, "The statement in words."),
        optional("faster", Kind::Section(&FASTER), "An engine is faster than another."),
        optional("compiled_faster", Kind::Section(&COMPILED), "Compiled code is faster."),
        optional("grows", Kind::Section(&GROWS), "Time is a power law of size."),
        optional("decode_share", Kind::Section(&DECODE_SHARE), "Decode takes most of the time."),
        optional(
            "prefill_share",
            Kind::Section(&PREFILL_SHARE),
            "Prefill takes so much of the time that it tells of all.",
        ),
        optional(
            "prefill_cheaper",
            Kind::Section(&PREFILL_CHEAPER),
            "Tokens that are read take less time than those written.",
        ),
        optional("cold_start", Kind::Section(&COLD_START), "A cold start takes long."),
        optional("cache_helps", Kind::Section(&CACHE_HELPS), "Decode is faster with a KV cache."),
        optional("kv_as_theory", Kind::Section(&NOTHING), "The KV cache is as large as in theory."),
        optional(
            "grouped_heads_save",
            Kind::Section(&GROUPED_HEADS),
            "Grouped heads take less KV cache than full ones.",
        ),
        optional("as_labelled", Kind::Section(&NOTHING), "Every call ran where it was asked to."),
        optional("energy_graded", Kind::Section(&ENERGY_GRADED), "Energy is known well enough to be quoted."),
        optional(
            "energy_cost",
            Kind::Section(&ENERGY_COST),
            "Energy costs little beside the machine; held against prices.",
        ),
        optional(
            "own_hardware_saves",
            Kind::Section(&OWN_HARDWARE),
            "A machine of one's own costs less than hire; held against prices.",
        ),
    ],
};

const FILE: Section = Section {
    what: "a claims file",
    choice: None,
    fields: &[
        required("version", Kind::Version, "Version of this format: 1."),
        required("name", Kind::Name, "Names it in output."),
        required(
            "claims",
            Kind::List { item: &Kind::Section(&CLAIM), min: 1, unique: false },
            "Statements, each with one form that can be checked.",
        ),
    ],
};

/// Reads and validates a claims file.
///
/// # Errors
/// It cannot be read, or has problems: all of them are told.
pub fn read(path: &Path) -> Result<Claims, ScenarioError> {
    parse(&reading::text("claims file", path)?, path)
}

/// Validates a claims file's text; `path` is for messages.
///
/// # Errors
/// Every problem of the text.
pub fn parse(text: &str, path: &Path) -> Result<Claims, ScenarioError> {
    reading::whole(text, path, &FILE, check, build)
}

/// The JSON Schema of claims files.
#[must_use]
pub fn schema() -> Value {
    schemas::of(&FILE, "phasebench claims file")
}

fn check(root: &Node, problems: &mut Vec<Problem>) {
    consistency::duplicates(items(root, "claims"), problems);
    for grows in items(root, "claims").iter().filter_map(|claim| claim.get("grows")) {
        if let (Some(from), Some(to)) = (number(grows, "from"), number(grows, "to"))
            && from > to
        {
            let at = grows.get("from").map_or(grows.at, |node| node.at);
            problems.push(Problem::new(at, format!("`from` is {from}, more than `to`, which is {to}")));
        }
    }
}

fn build(root: &Node) -> Option<Claims> {
    Some(Claims { name: owned(root, "name")?, claims: each(root, "claims", claim)? })
}

fn claim(node: &Node) -> Option<Claim> {
    Some(Claim { name: owned(node, "name")?, text: owned(node, "text")?, asserts: assertion(node)? })
}

fn assertion(claim: &Node) -> Option<Assertion> {
    if let Some(faster) = claim.get("faster") {
        return Some(Assertion::Faster {
            engine: owned(faster, "engine")?,
            than: owned(faster, "than")?,
            phase: word(faster.get("phase")?)?,
            by: number(faster, "by")?,
        });
    }
    if let Some(compiled) = claim.get("compiled_faster") {
        return Some(Assertion::CompiledFaster { phase: word(compiled.get("phase")?)?, by: number(compiled, "by")? });
    }
    if let Some(grows) = claim.get("grows") {
        let (from, to) = (number(grows, "from")?, number(grows, "to")?);
        let (smallest, largest) = (maybe(grows, "smallest", Node::number)?, maybe(grows, "largest", Node::number)?);
        return Some(Assertion::Grows { phase: word(grows.get("phase")?)?, from, to, smallest, largest });
    }
    if let Some(share) = claim.get("decode_share") {
        return Some(Assertion::DecodeShare { at_least: number(share, "at_least")? });
    }
    if let Some(share) = claim.get("prefill_share") {
        return Some(Assertion::PrefillShare { at_least: number(share, "at_least")? });
    }
    if let Some(cheaper) = claim.get("prefill_cheaper") {
        return Some(Assertion::PrefillCheaper { by: number(cheaper, "by")? });
    }
    if let Some(cold) = claim.get("cold_start") {
        return Some(Assertion::ColdStart { at_least: number(cold, "at_least")? });
    }
    if let Some(cache) = claim.get("cache_helps") {
        return Some(Assertion::CacheHelps { by: number(cache, "by")? });
    }
    if claim.get("kv_as_theory").is_some() {
        return Some(Assertion::KvAsTheory);
    }
    if let Some(grouped) = claim.get("grouped_heads_save") {
        return Some(Assertion::GroupedHeadsSave { by: number(grouped, "by")? });
    }
    if claim.get("as_labelled").is_some() {
        return Some(Assertion::AsLabelled);
    }
    if let Some(energy) = claim.get("energy_cost") {
        return Some(Assertion::EnergyCost { at_most: number(energy, "at_most")? });
    }
    if let Some(own) = claim.get("own_hardware_saves") {
        return Some(Assertion::OwnHardwareSaves { at_least: number(own, "at_least")? });
    }
    let energy = claim.get("energy_graded")?;
    let shorter_than = energy.get("shorter_than").map(|_| duration(energy, "shorter_than"));
    let shorter_than_ms = match shorter_than {
        Some(known) => Some(known?.as_secs_f64() * 1e3),
        None => None,
    };
    Some(Assertion::EnergyGraded { shorter_than_ms })
}
