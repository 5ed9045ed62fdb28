//! Which clock a server has. Every row of the table is another one, and results are never pooled across rows.
//!
//! Read from the sources of the versions named; see the boundary text of each row for what its durations include.

use semver::Version;

/// Reads `0.24.0` or `0.33.0-rc2`; a pre-release counts as its release, whose clock it has. `None`: no version, or
/// `0.0.0`, which development builds report.
#[must_use]
pub fn release(text: &str) -> Option<Version> {
    // What follows the release is the server's to choose, and need not be as such versions are written.
    let release = text.trim().trim_start_matches('v').split(['-', '+']).next()?;
    Version::parse(release).ok().filter(|release| *release != Version::new(0, 0, 0))
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerClock {
    /// Name of the row, for manifests and evidence.
    pub row: &'static str,
    /// What `prompt_eval_duration` covers.
    pub prefill: &'static str,
    /// What `eval_duration` covers.
    pub decode: &'static str,
    /// Why nothing this server times may count. `None`: it may.
    pub blocklisted: Option<&'static str>,
    /// Whether `eval_duration` is wall time from the first token to the last; else sampling and streaming are left out.
    pub decode_is_wall: bool,
    /// Whether an identical earlier prompt is restored even after another one, from a copy in host memory.
    pub host_prompt_cache: bool,
}

const RUNNER: ServerClock = ServerClock {
    row: "0.5.13 to 0.12.4",
    prefill: "from the request's sequence being made to the first logits, tokenising and the wait for a slot included",
    decode: "from the first logits to the last token written, wall time with sampling and streaming",
    blocklisted: None,
    decode_is_wall: true,
    host_prompt_cache: false,
};

const IN_PROCESS: ServerClock = ServerClock {
    row: "0.12.5 to 0.24",
    prefill: "the prompt's batches computed and synchronised, without sampling",
    decode: "the decode steps after the first token computed and synchronised, without sampling and streaming",
    blocklisted: None,
    decode_is_wall: false,
    host_prompt_cache: false,
};

const LLAMA_SERVER: ServerClock = ServerClock {
    row: "0.30 and later",
    prefill: "from the slot's start on the prompt to the first token sampled",
    decode: "from the first token sampled to the last, wall time with sampling and the server's own work",
    blocklisted: None,
    decode_is_wall: true,
    host_prompt_cache: true,
};

/// The clock of a [`release`]. `None`: older than any whose sources were read.
#[must_use]
pub fn clock(version: &Version) -> Option<ServerClock> {
    let before = |major, minor, patch| *version < Version::new(major, minor, patch);
    if before(0, 5, 13) {
        None
    } else if before(0, 12, 5) {
        Some(RUNNER)
    } else if before(0, 12, 7) {
        Some(ServerClock {
            row: "0.12.5 and 0.12.6",
            blocklisted: Some("this version times only the last batch of a prompt"),
            ..IN_PROCESS
        })
    } else if before(0, 30, 0) {
        Some(IN_PROCESS)
    } else if before(0, 30, 1) {
        Some(ServerClock {
            row: "0.30.0",
            blocklisted: Some("this version counts only the prompt tokens that were not cached"),
            ..LLAMA_SERVER
        })
    } else {
        Some(LLAMA_SERVER)
    }
}

/// What a server runs a model with; how the model is stored decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// GGUF on llama.cpp or the server's own ggml runner: the first token falls out of the prompt's batch, so N tokens
    /// are N − 1 timed steps.
    Gguf,
    /// Safetensors on MLX: the decode clock covers a forward pass for each of the N tokens.
    Mlx,
}

impl Runner {
    /// From a model's `details.format`. `None`: one that this program does not know.
    #[must_use]
    pub fn of_format(format: &str) -> Option<Self> {
        match format {
            "gguf" => Some(Self::Gguf),
            "safetensors" => Some(Self::Mlx),
            _ => None,
        }
    }

    /// Tokens to ask for so that `steps` are timed.
    #[must_use]
    pub fn tokens_for(self, steps: u32) -> u32 {
        match self {
            Self::Gguf => steps.saturating_add(1),
            Self::Mlx => steps.max(1),
        }
    }

    /// Steps that the decode clock covers when `tokens` were made.
    #[must_use]
    pub fn steps_timed(self, tokens: u32) -> u32 {
        match self {
            Self::Gguf => tokens.saturating_sub(1),
            Self::Mlx => tokens,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn versions_read_as_they_are_written() {
        for (text, version) in [
            ("0.24.0", Some(Version::new(0, 24, 0))),
            ("v0.33.0-rc2", Some(Version::new(0, 33, 0))),
            ("0.5", None),
            ("0.0.0", None),
            ("1.2.3.4", None),
            ("main", None),
            ("", None),
        ] {
            assert_eq!(release(text), version, "{text}");
        }
    }

    #[test]
    fn every_version_has_its_row() {
        for (version, row, blocked) in [
            (Version::new(0, 5, 13), "0.5.13 to 0.12.4", false),
            (Version::new(0, 12, 4), "0.5.13 to 0.12.4", false),
            (Version::new(0, 12, 5), "0.12.5 and 0.12.6", true),
            (Version::new(0, 12, 6), "0.12.5 and 0.12.6", true),
            (Version::new(0, 12, 7), "0.12.5 to 0.24", false),
            (Version::new(0, 24, 0), "0.12.5 to 0.24", false),
            (Version::new(0, 30, 0), "0.30.0", true),
            (Version::new(0, 30, 1), "0.30 and later", false),
            (Version::new(1, 0, 0), "0.30 and later", false),
        ] {
            let clock = clock(&version).unwrap();
            assert_eq!((clock.row, clock.blocklisted.is_some()), (row, blocked), "{version}");
        }
        assert_eq!(clock(&Version::new(0, 5, 12)), None);
    }

    #[test]
    fn the_first_token_of_a_gguf_runner_is_free() {
        assert_eq!((Runner::Gguf.tokens_for(64), Runner::Gguf.steps_timed(65)), (65, 64));
        assert_eq!((Runner::Gguf.tokens_for(0), Runner::Gguf.steps_timed(1)), (1, 0));
        assert_eq!((Runner::Mlx.tokens_for(64), Runner::Mlx.steps_timed(64)), (64, 64));
    }
}
