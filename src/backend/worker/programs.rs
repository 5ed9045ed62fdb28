//! Which program a worker is, by where it comes from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::launch::LaunchError;
use super::launch::process::Program;
use super::start::Trouble;
use super::text::clean;
use super::torch;
use super::torch::beside::{self, Packages};
use crate::terms::Degraded;

/// The torch worker in the environment that `phasebench setup torch` selected.
pub fn torch(cache: &Path) -> Result<Program, Trouble> {
    let found = torch::find(cache).map_err(|error| Trouble {
        kind: Degraded::Error,
        what: error.to_string(),
        fix: torch::FIX.to_owned(),
    })?;
    let environment = [
        ("PYTHONPATH", found.package.into_os_string()),
        // Packages of the user's own would not be those that were locked.
        ("PYTHONNOUSERSITE", "1".into()),
        ("PYTHONDONTWRITEBYTECODE", "1".into()),
    ];
    Ok(Program {
        program: found.python,
        arguments: worker_module(),
        environment: environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        facts: BTreeMap::from([
            ("launch".to_owned(), "process: python -m phasebench_torch".to_owned()),
            ("environment".to_owned(), found.id),
        ]),
    })
}

/// The same in the environment that was made of a version of torch.
pub fn torch_version(cache: &Path, version: &str) -> Result<Program, Trouble> {
    let python = beside::version(cache, version).ok_or_else(|| Trouble {
        kind: Degraded::Error,
        what: format!("no environment with torch {version} was made"),
        fix: format!("phasebench setup torch --version {version}"),
    })?;
    torch_beside(cache, &python)
}

/// The same in somebody's own environment, with what the worker needs beside it. Nothing is written there.
pub fn torch_beside(cache: &Path, python: &Path) -> Result<Program, Trouble> {
    let known = beside::ask(python).map_err(LaunchError::from)?;
    let whose = python.display().to_string();
    let packages = Packages::of(cache, &known.version).require(&whose, &whose).map_err(LaunchError::from)?;
    let failed = |why: String| Trouble::new(Degraded::Error, why);
    let worker = beside::worker(cache)
        .map_err(|error| failed(format!("the worker cannot be written into the cache: {error}")))?;
    let path = std::env::join_paths([&worker, &packages.folder])
        .map_err(|error| failed(format!("{}: {error}", cache.display())))?;
    let environment = [("PYTHONPATH", path), ("PYTHONDONTWRITEBYTECODE", "1".into())];
    Ok(Program {
        program: python.to_owned(),
        arguments: worker_module(),
        environment: environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        facts: BTreeMap::from([
            ("launch".to_owned(), format!("process: {whose} -m phasebench_torch")),
            ("environment".to_owned(), format!("{whose}, torch {}, numpy {}", known.torch, known.numpy)),
            ("beside".to_owned(), packages.id),
        ]),
    })
}

fn worker_module() -> Vec<OsString> {
    ["-m", "phasebench_torch"].map(OsString::from).to_vec()
}

/// Somebody else's program.
pub fn of_others(command: &[String]) -> Result<Program, Trouble> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Trouble::new(Degraded::Error, "the worker's command is empty".to_owned()));
    };
    startable(program)?;
    Ok(Program {
        program: program.into(),
        arguments: arguments.iter().map(OsString::from).collect(),
        environment: Vec::new(),
        facts: BTreeMap::from([("launch".to_owned(), format!("process: {}", command.join(" ")))]),
    })
}

/// Whether there is a program to start: of one that is not, the keeper that should start it would only say how itself ended.
///
/// # Errors
/// There is none of that name, or nobody may execute it.
fn startable(program: &str) -> Result<(), Trouble> {
    let places: Vec<PathBuf> = if program.contains('/') {
        vec![PathBuf::from(program)]
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|folder| folder.join(program)).collect()
    };
    let files: Vec<fs::Metadata> =
        places.iter().filter_map(|place| fs::metadata(place).ok()).filter(fs::Metadata::is_file).collect();
    if files.iter().any(|file| file.permissions().mode() & 0o111 != 0) {
        return Ok(());
    }
    let why = if files.is_empty() { "no such program" } else { "it may not be executed" };
    let what = format!("`{}` cannot be started: {why}", clean(program));
    Err(Trouble { kind: Degraded::Error, what, fix: "correct `command`".to_owned() })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_be_started_is_named_before_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("worker");
        let of = |program: &str| of_others(&[program.to_owned(), "serve".to_owned()]).map(|found| found.program);
        let said = |program: &str| of(program).unwrap_err();
        let name = program.display().to_string();
        assert_eq!(said(&name).what, format!("`{name}` cannot be started: no such program"));
        assert_eq!(said("phasebench-no-such-program").fix, "correct `command`");
        fs::write(&program, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(said(&name).what.ends_with("cannot be started: it may not be executed"));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(of(&name).unwrap(), program);
        assert_eq!(of("sh").unwrap(), PathBuf::from("sh"));
    }
}
