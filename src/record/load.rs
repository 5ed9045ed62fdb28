//! Loads, and what was compiled after them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plan::SessionKey;
use crate::terms::{Attribution, CompileEvidence, Phase, Procedure, Regime, Status};
use crate::units::{Bytes, Nanos};

/// One load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadRecord {
    /// Which load of the run this is, from 0.
    pub load_index: u32,
    /// Which of the sessions of this backend and model it begins, from 0; one that is taken up again after a resume keeps its
    /// number. 0 also in files older than sessions.
    #[serde(default)]
    pub session_index: u32,
    /// What was loaded.
    pub session: SessionKey,
    /// Sessions closed before it, to make room.
    pub evicted: Vec<SessionKey>,
    /// Which set of sessions is resident together, from 0.
    pub residency_id: u32,
    /// Round of the interleaved order, from 0.
    pub round: u32,
    /// Whether it worked.
    pub status: Status,
    /// The engine's words where it did not.
    pub detail: Option<String>,
    /// When it began.
    pub begin_ns: Nanos,
    /// How long it took.
    pub duration_ns: Nanos,
    /// Its parts by the engine's own names, in order.
    pub parts_ns: Vec<(String, Nanos)>,
    /// `cold_process` for a load into a fresh process of the engine: each, where every load starts one, else the first of the
    /// backend in this process; otherwise `cold_model`.
    pub regime: Regime,
    /// Where the graph was placed.
    pub attribution: Attribution,
    /// Hash of the weights. `None`: the load failed before they were known.
    pub weights_id: Option<String>,
    /// Resident set of the engine's process before. `None`: not measurable.
    pub host_rss_before_bytes: Option<Bytes>,
    /// Resident set after. `None`: not measurable.
    pub host_rss_after_bytes: Option<Bytes>,
    /// Device memory taken. `None`: no device, or not measurable.
    pub device_bytes: Option<Bytes>,
    /// Expected memory of all sessions resident after it.
    pub planned_resident_bytes: Bytes,
    /// Phases that a compiler was asked for, each with its name. Empty: none was, or the load failed before.
    #[serde(default)]
    pub compilers: BTreeMap<Phase, String>,
    /// What was compiled after it, before the first call; not in [`duration_ns`](Self::duration_ns).
    #[serde(default)]
    pub compiled: Vec<CompileRecord>,
}

/// One shape compiled, a phase of its own between load and first call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompileRecord {
    /// What calls of this shape do.
    pub procedure: Procedure,
    /// Rows.
    pub batch: u32,
    /// Columns of the prompts, padding included.
    pub prompt_tokens: u32,
    /// Decode steps.
    pub steps: u32,
    /// Whether it worked.
    pub status: Status,
    /// The compiler's words where it did not.
    pub detail: Option<String>,
    /// When it began.
    pub begin_ns: Nanos,
    /// How long it took, the runs that proved it included.
    pub duration_ns: Nanos,
    /// What was done for each phase, also where it did not work, as far as the engine tells.
    pub phases: Vec<CompileEvidence>,
}
