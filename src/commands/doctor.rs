//! `phasebench doctor`: what this machine can run, and how to get what is missing.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use self::finding::{Finding, Kind};
use super::{CommandError, machine, python};
use crate::backend::ollama::manage::default_url;
use crate::cli::DoctorArgs;
use crate::exit::Exit;
use crate::manifest;
use crate::manifest::redact::Redactor;
use crate::record::manifest::{Gpus, Machine, Tool};
use crate::secret::without_passwords;
use crate::units::Bytes;

mod asked;
pub mod clean;
mod finding;
mod ollama;
mod onnx;
mod power;
mod torch;

/// Everything that was found.
#[derive(Debug, Serialize)]
struct Findings {
    format: u32,
    tool: Tool,
    machine: Machine,
    gpus: Gpus,
    findings: Vec<Finding>,
    cache: Cache,
}

/// The cache folder.
#[derive(Debug, Serialize)]
struct Cache {
    path: String,
    bytes: Bytes,
    /// `None`: the system does not tell.
    free_bytes: Option<Bytes>,
}

/// Looks and tells. What is missing is a finding, not an error; what a scenario file asks for and is missing decides the
/// exit code, [`Exit::Unavailable`].
///
/// # Errors
/// A bad scenario file; `out` cannot be written.
pub fn execute(args: &DoctorArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    if args.clean {
        return clean::execute(args, out);
    }
    let (findings, all_there) = look(args.scenario.as_deref())?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&findings.published(&Redactor::here()))?)?;
    } else {
        print(&findings, out)?;
    }
    Ok(if all_there { Exit::Good } else { Exit::Unavailable })
}

/// What there is, and whether everything that a scenario file asks for is.
fn look(scenario: Option<&Path>) -> Result<(Findings, bool), CommandError> {
    let root = crate::cache::root();
    let gpus = manifest::gpu::collect();
    let asked = scenario.map(|path| asked::findings(path, &root)).transpose()?;
    let all_there = asked.iter().flatten().all(|finding| finding.ready);
    let mut findings = onnx::findings(&gpus, &root);
    findings.extend(asked.unwrap_or_else(|| ollama::at(&default_url(), &root, &[])));
    findings.extend(torch::findings(&root));
    findings.extend([
        Finding::ready(Kind::Backend, "simulated", "scripted timings on a virtual clock".to_owned()),
        foreign_load(),
        clocks(),
        own_speed(),
    ]);
    findings.extend((!gpus.devices.is_empty()).then(own_speed_of_boards).flatten());
    findings.extend(power::findings());
    findings.extend([
        python_tool("python3", &["--version"], "apt install python3   (setup fetches runtimes with it)"),
        python_tool("pip", &["-m", "pip", "--version"], "apt install python3-pip   (setup fetches runtimes with it)"),
    ]);
    let cache = Cache {
        path: root.display().to_string(),
        bytes: crate::cache::size(&root),
        free_bytes: crate::cache::free(&root),
    };
    let (tool, machine) = (Tool::this(), manifest::machine::collect());
    Ok((Findings { format: 1, tool, machine, gpus, findings, cache }, all_there))
}

impl Findings {
    /// Fit to be passed on, as JSON is. Who asks at a terminal sees the paths that they gave.
    fn published(self, redactor: &Redactor) -> Self {
        let findings = self.findings.into_iter().map(|finding| {
            let fix = finding.fix.map(|fix| redactor.text(&fix));
            Finding { detail: redactor.text(&finding.detail), fix, ..finding }
        });
        let cache = Cache { path: redactor.cache_folder(), ..self.cache };
        Self { findings: findings.collect(), cache, ..self }
    }
}

fn foreign_load() -> Finding {
    const NAME: &str = "other programs' load";
    match (crate::telemetry::cpu::times(), crate::telemetry::cpu::load_average()) {
        (Some(_), Some(load)) => {
            Finding::ready(Kind::Sensor, NAME, format!("watched around every call; load average {load:.2} now"))
        }
        _ => Finding::missing(Kind::Sensor, NAME, "this system does not tell processor times".to_owned(), None),
    }
}

fn clocks() -> Finding {
    const NAME: &str = "processor clocks";
    match crate::telemetry::cpu::mean_mhz() {
        Some(mhz) => Finding::ready(Kind::Sensor, NAME, format!("{mhz:.0} MHz now")),
        None => {
            let why = "the system shows none (usual in virtual machines)";
            let fix =
                "a machine of its own, where /sys/devices/system/cpu/cpufreq is not empty; rows lack the clock here";
            Finding::missing(Kind::Sensor, NAME, why.to_owned(), Some(fix.to_owned()))
        }
    }
}

fn own_speed() -> Finding {
    const NAME: &str = "the machine's own speed";
    match machine::brief(&manifest::machine::collect()) {
        Some(told) => Finding::ready(Kind::Sensor, NAME, told),
        None => Finding::missing(Kind::Sensor, NAME, "no memory for the buffer that is read".to_owned(), None),
    }
}

fn own_speed_of_boards() -> Option<Finding> {
    const NAME: &str = "the boards' own speed";
    let (told, all) = machine::brief_of_boards()?;
    Some(if all { Finding::ready(Kind::Sensor, NAME, told) } else { Finding::missing(Kind::Sensor, NAME, told, None) })
}

fn python_tool(name: &'static str, arguments: &[&str], fix: &str) -> Finding {
    match python::version(arguments) {
        // `pip 23.2 from /a/private/folder (python 3.11)`: where it lies is nobody's business.
        Some(version) => {
            let short = version.split(" from ").next().unwrap_or_default();
            Finding::ready(Kind::Tool, name, short.to_owned())
        }
        None => Finding::missing(Kind::Tool, name, "not installed".to_owned(), Some(fix.to_owned())),
    }
}

fn print(findings: &Findings, out: &mut dyn Write) -> io::Result<()> {
    let Tool { version, commit, .. } = &findings.tool;
    let commit = commit.as_deref().map(|commit| format!(" ({})", short(commit)));
    writeln!(out, "phasebench {version}{}", commit.unwrap_or_default())?;
    writeln!(out, "{}", machine_line(&findings.machine))?;
    for gpu in &findings.gpus.devices {
        let memory = gpu.memory_bytes.map(|bytes| format!(", {bytes}"));
        let name = gpu.name.as_deref().unwrap_or("a GPU without a name");
        writeln!(out, "{name}{}", memory.unwrap_or_default())?;
    }
    let width = findings.findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    for (kind, title) in [(Kind::Backend, "backends"), (Kind::Sensor, "sensors"), (Kind::Tool, "tools")] {
        writeln!(out, "\n{title}")?;
        for finding in findings.findings.iter().filter(|finding| finding.kind == kind) {
            let state = if finding.ready { "ready" } else { "missing" };
            writeln!(out, "  {:width$}  {state:7}  {}", finding.name, without_passwords(&finding.detail))?;
            for line in finding.fix.iter().flat_map(|fix| fix.lines()) {
                writeln!(out, "  {:width$}           try: {}", "", without_passwords(line.trim()))?;
            }
        }
    }
    let Cache { path, bytes, free_bytes } = &findings.cache;
    let free = free_bytes.map(|free| format!(", {free} free on that disk"));
    writeln!(out, "\ncache {path}: {bytes}{}", free.unwrap_or_default())
}

/// The first 12 digits, and whether the sources were changed.
fn short(commit: &str) -> String {
    let (hash, rest) = commit.split_at_checked(12).unwrap_or((commit, ""));
    format!("{hash}{}", if rest.ends_with("-modified") { ", modified" } else { "" })
}

fn machine_line(machine: &Machine) -> String {
    let mut parts = vec![machine.cpu_model.clone().unwrap_or_else(|| machine.arch.clone())];
    if let Some(cores) = machine.physical_cores {
        parts.push(format!("{cores} cores"));
    }
    parts.extend(machine.logical_cores.map(|threads| format!("{threads} threads")));
    parts.extend(machine.is_held().then(|| format!("{} usable", machine.usable())));
    parts.extend(machine.memory_gib.map(|gib| format!("{gib} GiB")));
    parts.extend(machine.os.clone());
    parts.extend(machine.kernel.clone().map(|kernel| format!("kernel {kernel}")));
    if machine.virtualised == Some(true) {
        parts.push("virtual machine".to_owned());
    }
    parts.extend(machine.container.clone().map(|kind| format!("in a {kind} container")));
    let governors: std::collections::BTreeSet<_> = machine.governors.values().cloned().collect();
    if !governors.is_empty() {
        let governors: Vec<_> = governors.into_iter().collect();
        parts.push(format!("governor {}", governors.join(" and ")));
    }
    parts.join(", ")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_says_what_helps() {
        let cache = tempfile::tempdir().unwrap();
        let findings = Findings {
            format: 1,
            tool: Tool::this(),
            machine: manifest::machine::collect(),
            gpus: Gpus::default(),
            findings: vec![
                Finding::ready(Kind::Backend, "a", "fine".to_owned()),
                Finding::missing(Kind::Tool, "bb", "not installed".to_owned(), Some("one\n  or two".to_owned())),
            ],
            cache: Cache { path: cache.path().display().to_string(), bytes: Bytes(2048), free_bytes: None },
        };
        let mut text = Vec::new();
        print(&findings, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("\nbackends\n  a   ready    fine\n"), "{text}");
        assert!(text.contains("  bb  missing  not installed\n               try: one\n"), "{text}");
        assert!(text.ends_with(": 2.00 KiB\n"), "{text}");
    }
}
