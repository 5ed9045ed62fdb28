//! Which program a worker is, by where it comes from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::launch::LaunchError;
use super::launch::process::Program;
use super::start::Trouble;
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
    Ok(Program {
        program: program.into(),
        arguments: arguments.iter().map(OsString::from).collect(),
        environment: Vec::new(),
        facts: BTreeMap::from([("launch".to_owned(), format!("process: {}", command.join(" ")))]),
    })
}
