//! Where a command can write what it may not write where it was to.

use crate::cli::{Command, ReportArgs, RunArgs};

use super::CommandError;

/// An error as people read it, with what this command offers where it is that nothing may be written.
#[must_use]
pub fn advised(error: &CommandError, command: &Command) -> String {
    let refused = error.store().is_some_and(|error| error.is_refused_write());
    let instead = instead(command).filter(|_| refused);
    format!("{}{}", error.describe(), instead.map(|instead| format!("\n  try: {instead}")).unwrap_or_default())
}

/// What a command that may not write into a folder can do instead. `None`: nothing.
fn instead(command: &Command) -> Option<&'static str> {
    match command {
        Command::Report(ReportArgs { run, out: None, .. }) if run.len() == 1 => {
            Some("--out DIR for a report in another folder, which leaves the run as it is")
        }
        Command::Analyze(_) | Command::Run(RunArgs { resume: Some(_), .. }) => {
            Some("a copy of the run that this user may write to")
        }
        Command::Report(_)
        | Command::Run(_)
        | Command::Bench(_)
        | Command::Calibrate(_)
        | Command::Machine(_)
        | Command::History(_)
        | Command::Import(_)
        | Command::Compare(_)
        | Command::Rerun(_)
        | Command::Cost(_)
        | Command::Decide(_) => Some("a folder that this user may write to, with --out"),
        Command::Doctor(_)
        | Command::Setup(_)
        | Command::Models(_)
        | Command::Plan(_)
        | Command::Init(_)
        | Command::Validate(_)
        | Command::Fit(_)
        | Command::Kv(_)
        | Command::Worker(_)
        | Command::Supervise(_)
        | Command::Boards(_)
        | Command::Schema(_)
        | Command::Completions(_) => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io;
    use std::path::Path;

    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;
    use crate::store::io_error;

    fn advice(typed: &str, doing: &'static str, kind: io::ErrorKind) -> String {
        let command = Cli::try_parse_from(typed.split_whitespace()).unwrap().command;
        let error = CommandError::from(io_error(Path::new("run/plots"), doing)(kind.into()));
        advised(&error, &command)
    }

    #[test]
    fn what_is_advised_can_be_typed() {
        let refused = |typed| advice(typed, "create", io::ErrorKind::ReadOnlyFilesystem);
        for (typed, instead) in [
            ("phasebench report run", Some("try: --out DIR for a report in another folder")),
            ("phasebench report run --out there", Some("try: a folder that this user may write to, with --out")),
            ("phasebench run mine.yaml", Some("try: a folder that this user may write to, with --out")),
            ("phasebench run --resume run", Some("try: a copy of the run that this user may write to")),
            ("phasebench analyze run", Some("try: a copy of the run that this user may write to")),
            ("phasebench validate run", None),
        ] {
            let said = refused(typed);
            let (what, advice) = said.split_once("\n  ").map_or((&*said, None), |(what, advice)| (what, Some(advice)));
            assert_eq!(what, "error: run/plots: create: read-only filesystem or storage medium", "{typed}");
            assert_eq!(advice.is_some(), instead.is_some(), "{typed}: {said}");
            assert!(advice.unwrap_or_default().starts_with(instead.unwrap_or_default()), "{typed}: {said}");
        }
        assert!(!advice("phasebench report run", "read", io::ErrorKind::PermissionDenied).contains("try"));
    }

    #[test]
    fn the_system_s_words_stand_there_once() {
        let said = advice("phasebench report run", "write", io::ErrorKind::StorageFull);
        assert_eq!(said, "error: run/plots: write: no storage space\n  try: free some space, and the same again");
    }
}
