//! Exit codes: the one table.

use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything went as asked.
    Good,
    /// A fault of ours.
    Internal,
    /// What was checked is not as it should be: `validate`, `models verify` and `worker check`.
    CheckFailed,
    /// A bad scenario file or command line.
    Usage,
    /// More calls degraded, or could not be made, than the scenario's limit allows; or a model could not be measured at all.
    Degraded,
    /// A run folder that cannot be read or written, or a cache or `--out` that cannot be written.
    Store,
    /// Slower, or newly failing: `compare` and `rerun`.
    Worse,
    /// The stack changed since a run began; a new run is required.
    StackChanged,
    /// A backend that was asked for is not available, or its server refuses what it is asked; found before the first call.
    Unavailable,
    /// Nothing is known to be worse, but something is undecided, missing or not comparable, or nothing was compared: `compare` and
    /// `rerun`; or `rerun --slowdown` did not find what it planted.
    Undecided,
    /// Interrupted; the run can be resumed.
    Interrupted,
}

impl Exit {
    /// The number given to the shell.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Internal | Self::CheckFailed => 1,
            Self::Usage => 2,
            Self::Degraded => 3,
            Self::Store => 4,
            Self::Worse => 5,
            Self::StackChanged => 6,
            Self::Unavailable => 7,
            Self::Undecided => 8,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
