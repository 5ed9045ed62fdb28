//! The field's vocabulary as types: what every layer calls the same thing.
//!
//! Data only. A row's *mode* says what was timed, its *role* why the call was made, its *regime* how
//! rested the engine was, its *status* whether it may enter an aggregate, and its flags what else was going on.

use std::fmt;

use serde::{Deserialize, Serialize};

mod attribution;
mod board;
pub mod claim;
mod compile;
pub mod continuity;
pub mod disturbed;
mod division;
mod dtype;
mod early_stop;
pub mod energy;
pub mod kept_prompt;
pub mod model;
mod rules;
pub mod sensor;

pub use attribution::{Attribution, Evidence, device_of};
pub use board::BoardSpeed;
pub use compile::CompileEvidence;
pub use disturbed::Disturbed;
pub use division::{Division, SessionCount};
pub use dtype::Dtype;
pub use early_stop::{EarlyStop, Retries};
pub use rules::{FitAxis, Order, Repetitions};

/// The fact of a backend that says in which steps the time of its loads is known.
pub const LOAD_CLOCK: &str = "load_clock";

/// The part of a load that builds what later loads find: it is no part of the load's own time.
pub const BUILD_ENGINES: &str = "build_engines";

/// Gives an enum its serialized name as `as_str`, `Display` and a list of all values.
macro_rules! named {
    ($type:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every value, in the order they are documented.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name used in files and on the command line.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl std::str::FromStr for $type {
            type Err = String;
            fn from_str(s: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|v| v.as_str() == s).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|v| v.as_str()).collect();
                    format!("unknown value `{s}`, known: {}", known.join(", "))
                })
            }
        }
    };
}

/// How an engine or a sensor that is none says so: an engine by its name, a sensor in its own and in its driver's.
pub const SIMULATED: &str = "simulated";

/// What a number times. Modes are never mixed and never averaged together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One forward pass over the prompt that leaves a KV cache; ends when the first new token is known.
    Prefill,
    /// A decode loop of fixed length on the KV cache.
    KvDecode,
    /// Prefill and decode together; derived, never timed by itself.
    E2eKv,
    /// A decode loop without a KV cache: one full forward pass per token.
    GenerateUncached,
    /// Of imported requests: from sending one to its first token, by the client's clock. Queue, transport, prefill and the first
    /// token's own step are in it, so it is no prefill.
    Ttft,
    /// Of imported requests: from the first token to the last, by the client's clock.
    #[serde(rename = "after_first_token")]
    AfterFirst,
    /// Of imported requests: [`Ttft`](Self::Ttft) and [`AfterFirst`](Self::AfterFirst) together; derived, never timed by itself.
    Request,
    /// Of imported calls: prefill and decode timed as one, which no phase can be told from.
    Whole,
}
named!(Mode {
    Prefill => "prefill", KvDecode => "kv_decode", E2eKv => "e2e_kv", GenerateUncached => "generate_uncached",
    Ttft => "ttft", AfterFirst => "after_first_token", Request => "request", Whole => "whole",
});

impl Mode {
    /// Whether its time is that of decode steps alone, and is told per step.
    #[must_use]
    pub fn is_of_steps(self) -> bool {
        match self {
            Self::Prefill | Self::E2eKv | Self::Ttft | Self::Request | Self::Whole => false,
            Self::KvDecode | Self::GenerateUncached | Self::AfterFirst => true,
        }
    }

    /// What its time is divided by to be per step, where so many are asked for; a prefill has no steps, and is told whole.
    #[must_use]
    pub fn units(self, gen_tokens: u32) -> f64 {
        if self.is_of_steps() { f64::from(gen_tokens.max(1)) } else { 1.0 }
    }

    /// The phases whose times add up to it. Empty: another tool timed it, and it is no phase of ours.
    #[must_use]
    pub fn phases(self) -> &'static [Phase] {
        match self {
            Self::Prefill => &[Phase::Prefill],
            Self::KvDecode => &[Phase::KvDecode],
            Self::E2eKv => &[Phase::Prefill, Phase::KvDecode],
            Self::GenerateUncached => &[Phase::GenerateUncached],
            Self::Ttft | Self::AfterFirst | Self::Request | Self::Whole => &[],
        }
    }
}

/// What one call makes an engine do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Procedure {
    /// Prefill alone.
    Prefill,
    /// Prefill, then the decode loop on its cache.
    PrefillDecode,
    /// A full forward pass per token, no cache.
    Uncached,
}
named!(Procedure { Prefill => "prefill", PrefillDecode => "prefill_decode", Uncached => "uncached" });

impl Procedure {
    /// The modes whose time one such call gives, in the order they run.
    #[must_use]
    pub fn modes(self) -> &'static [Mode] {
        match self {
            Self::Prefill => &[Mode::Prefill],
            Self::PrefillDecode => &[Mode::Prefill, Mode::KvDecode, Mode::E2eKv],
            Self::Uncached => &[Mode::GenerateUncached],
        }
    }
}

/// A timed stretch inside a call. Unlike a [`Mode`], a phase is never derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// See [`Mode::Prefill`].
    Prefill,
    /// See [`Mode::KvDecode`].
    KvDecode,
    /// See [`Mode::GenerateUncached`].
    GenerateUncached,
}
named!(Phase { Prefill => "prefill", KvDecode => "kv_decode", GenerateUncached => "generate_uncached" });

impl Phase {
    /// The mode that this phase alone times.
    #[must_use]
    pub fn mode(self) -> Mode {
        match self {
            Self::Prefill => Mode::Prefill,
            Self::KvDecode => Mode::KvDecode,
            Self::GenerateUncached => Mode::GenerateUncached,
        }
    }
}

/// Why a call was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// First call after a load.
    Cold,
    /// Planned warmup.
    Warmup,
    /// Short call that ends an idle gap before a timed one; part of no ratio and no aggregate.
    Rewarm,
    /// The measurement itself.
    Timed,
}
named!(Role { Cold => "cold", Warmup => "warmup", Rewarm => "rewarm", Timed => "timed" });

/// How fresh the engine was when the call began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regime {
    /// First call in a fresh engine process.
    ColdProcess,
    /// First call after the model was loaded into a process that had run before.
    ColdModel,
    /// First call of this shape in this session.
    ColdShape,
    /// Anything later.
    Warm,
}
named!(Regime { ColdProcess => "cold_process", ColdModel => "cold_model", ColdShape => "cold_shape", Warm => "warm" });

/// Why a row does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Degraded {
    /// The engine reported an error.
    Error,
    /// The call's deadline passed and it was cancelled.
    Timeout,
    /// Memory ran out.
    Oom,
    /// The engine's process ended.
    Crashed,
    /// The reply ended before its end was announced.
    Incomplete,
    /// Fewer tokens than asked, at a stop token.
    EarlyStop,
    /// Too few decode steps to scale to the target.
    TooShort,
    /// Part of the prefill came from a cache.
    CacheHit,
    /// The prompt was cut.
    Truncated,
    /// The model was loaded again inside the call.
    Reloaded,
    /// The call waited behind another client.
    Queued,
    /// Another device than the one asked for.
    WrongDevice,
    /// Part of the work ran on another provider or in another mode than asked.
    Fallback,
    /// Compilation failed.
    CompileFailed,
    /// The engine changed during the run.
    StackChanged,
    /// The engine version's clock is known to be wrong.
    BlocklistedClock,
    /// The row contradicts itself.
    Invariant,
    /// A self-test delayed it on purpose: `rerun --slowdown`.
    Planted,
}
named!(Degraded {
    Error => "error", Timeout => "timeout", Oom => "oom", Crashed => "crashed", Incomplete => "incomplete",
    EarlyStop => "early_stop", TooShort => "too_short", CacheHit => "cache_hit", Truncated => "truncated",
    Reloaded => "reloaded", Queued => "queued", WrongDevice => "wrong_device", Fallback => "fallback",
    CompileFailed => "compile_failed", StackChanged => "stack_changed", BlocklistedClock => "blocklisted_clock",
    Invariant => "invariant", Planted => "planted",
});

/// Whether a row may enter aggregates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It may.
    Ok,
    /// It may not, for this reason; it stays in the raw file and in the degraded rate.
    Degraded(Degraded),
}

impl Status {
    /// True for [`Status::Ok`].
    #[must_use]
    pub fn is_ok(self) -> bool {
        self == Self::Ok
    }

    /// Whether the engine did what it was asked: it counts, or would but for a delay that was planted.
    #[must_use]
    pub fn went_well(self) -> bool {
        matches!(self, Self::Ok | Self::Degraded(Degraded::Planted))
    }

    /// Why it may not be used. `None`: it may.
    #[must_use]
    pub fn degraded(self) -> Option<Degraded> {
        match self {
            Self::Ok => None,
            Self::Degraded(kind) => Some(kind),
        }
    }
}

/// `ok` or `degraded(timeout)`.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Degraded(kind) => write!(f, "degraded({kind})"),
        }
    }
}

/// What went on beside a call. A flag does not remove a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// The device lowered its clocks.
    Throttled,
    /// The device ran into its power limit.
    PowerCapped,
    /// Other programs used the processor or device.
    ForeignLoad,
    /// Another session of ours was resident.
    CoResident,
    /// Idle power moved.
    IdleDrift,
    /// The prompt was never sent before, and its prefill took as long as that of one that the server had kept. It counts.
    Suspect,
    /// More of the call, from its first phase on, belongs to no phase than to one, and messages alone do not take so long: as
    /// where an engine ends a phase before its device has.
    Unaccounted,
    /// A control group had used up its share of the processor, so that this program or the engine was not let run.
    CpuQuota,
    /// This program or the engine was stopped, paused, suspended or moved to another host.
    Frozen,
}
named!(Flag {
    Throttled => "throttled", PowerCapped => "power_capped", ForeignLoad => "foreign_load",
    CoResident => "co_resident", IdleDrift => "idle_drift", Suspect => "suspect", Unaccounted => "unaccounted",
    CpuQuota => "cpu_quota", Frozen => "frozen",
});

/// What disturbed a call: seen outside of it, never told by its latency, so that leaving it out favours no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disturbance {
    /// Other programs used more of the processors than the scenario file allows.
    ForeignCpu,
    /// The hypervisor took more of the processors' time than [`STEAL_LIMIT`](disturbed::STEAL_LIMIT).
    Steal,
    /// A control group had used up its share of the processor.
    CpuQuota,
    /// Heat or a brake lowered the clocks of the board.
    GpuThrottled,
    /// This program or the engine was stopped, paused, suspended or moved to another host.
    Frozen,
}
named!(Disturbance {
    ForeignCpu => "foreign_cpu", Steal => "steal", CpuQuota => "cpu_quota", GpuThrottled => "gpu_throttled",
    Frozen => "frozen",
});

/// Where a power sensor sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SensorKind {
    /// NVIDIA's management library.
    Nvml,
    /// The processor's energy counters, through the kernel's powercap interface.
    Rapl,
    /// A board's sensor through the kernel's hwmon interface.
    Hwmon,
}
named!(SensorKind { Nvml => "nvml", Rapl => "rapl", Hwmon => "hwmon" });

/// What measures the machine's own speed; it uses nothing of any engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    /// Reads a buffer in sequence that is larger than the caches and lies on huge pages. Unit: bytes per second.
    Memory,
    /// The same on the pages that a program gets which asks for none. Unit: bytes per second.
    MemoryPlain,
    /// Independent fused multiply-adds in f32, in registers. Unit: floating-point operations per second.
    Compute,
    /// Copies a buffer within the memory of an NVIDIA board that is larger than its caches. Unit: bytes per second, those that
    /// are read and those that are written together.
    DeviceCopy,
}
named!(Kernel {
    Memory => "memory", MemoryPlain => "memory_plain", Compute => "compute", DeviceCopy => "device_copy",
});

impl Kernel {
    /// Those of the processor, which work with a number of threads.
    pub const OF_PROCESSOR: [Self; 3] = [Self::Memory, Self::MemoryPlain, Self::Compute];

    /// What its speed is counted in for people: thousand millions of this per second.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Memory | Self::MemoryPlain | Self::DeviceCopy => "GB/s",
            Self::Compute => "GFLOP/s",
        }
    }
}

/// How a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// All steps asked for were made.
    Length,
    /// A stop token came first.
    Stop,
    /// It did not end by itself.
    Interrupted,
}
named!(Finish { Length => "length", Stop => "stop", Interrupted => "interrupted" });

/// Programs that compute on one board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnBoard {
    /// The board.
    pub uuid: String,
    /// Processes of ours, the engine's among them.
    pub ours: u32,
    /// Those of others. `None`: which ones are the engine's is not known.
    pub foreign: Option<u32>,
    /// Bits by which its driver says why its clocks are lowered, right after the call. `None`: not told, or a record of an
    /// earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_reasons: Option<u64>,
}
