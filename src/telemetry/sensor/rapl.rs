//! The processor's energy counters, through the kernel's powercap interface (Intel's and AMD's; the kernel calls both
//! `intel-rapl`).
//!
//! Each counter has a folder, its zone: `intel-rapl:0` for a package, `intel-rapl:0:1` for a part of it, and
//! `intel-rapl-mmio:0` where the same counter can be reached in a second way. Zones overlap, so only those are read that
//! may stand beside one another: packages, memory, and the whole platform (`psys`), which holds the packages and is never
//! added to them. What is left out is told in [`Sensor::missing`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::zone::{Zone, zones};
use super::hwmon::{NumberFile, fault, reason};
use super::{Due, Fault, PowerSource, Reading, temperature};
use crate::terms::sensor::{Register, RegisterKind, Sensor, domain_kind, is_package};
use crate::terms::{SIMULATED, SensorKind};
use crate::units::Nanos;

mod zone;

/// Where the kernel shows its counters.
pub const ROOT: &str = "/sys/class/powercap";

/// Under this name [`Sensor::missing`] says that the packages added up are not all there are.
pub const PACKAGES: &str = "packages";

/// Why no counter can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// The kernel does not show power zones at all.
    #[error(
        "no powercap interface in /sys/class/powercap, so the processor's energy is not measured: virtual machines and \
         containers usually have none; run on the machine itself, with a kernel built with CONFIG_POWERCAP"
    )]
    NoInterface,
    /// It shows them, without a counter that answers.
    #[error(
        "no energy counter of the processor in /sys/class/powercap: on a machine that has one, \
         `sudo modprobe intel_rapl_msr` shows it; virtual machines usually have none, and containers hide it"
    )]
    NoCounter,
    /// This user may read none of them.
    #[error(
        "{path} may not be read: only root may since Linux 5.10, because power tells what others compute; where that is \
         no concern, `sudo chmod a+r /sys/class/powercap/*/energy_uj` grants it until the next boot"
    )]
    Permission {
        /// The first that was refused.
        path: PathBuf,
    },
}

/// The energy counters of this machine's processors.
#[derive(Debug)]
pub struct Rapl {
    sensor: Sensor,
    /// One for each register, in that order.
    files: Vec<NumberFile>,
}

impl Rapl {
    /// The same with the packages' temperatures, from the kernel's sensors below `root`.
    #[must_use]
    pub fn with_temperatures(mut self, root: &Path) -> Self {
        for (name, file) in temperature::packages(root) {
            self.sensor.registers.push(Register { name, kind: RegisterKind::State, range_j: None });
            self.files.push(file);
        }
        self
    }

    /// The same, called simulated: its files are not the kernel's.
    #[must_use]
    pub fn scripted(mut self) -> Self {
        self.sensor.id = format!("{SIMULATED}-{}", self.sensor.id);
        self.sensor.simulated = true;
        self
    }
}

/// Finds and opens the counters below `root`, which is [`ROOT`] on a real machine. Takes some milliseconds.
///
/// # Errors
/// [`Absent`], which is a finding rather than a fault.
pub fn open(root: &Path) -> Result<Rapl, Absent> {
    let mut found = OpenedCounters::default();
    let zones = zones(root).map_err(|error| match fault(&error) {
        Fault::Permission => Absent::Permission { path: root.to_owned() },
        _ => Absent::NoInterface,
    })?;
    for zone in zones {
        found.take(root, &zone);
    }
    if found.counters.is_empty() {
        return Err(found.refused.map_or(Absent::NoCounter, |path| Absent::Permission { path }));
    }
    Ok(found.into_source())
}

/// A counter that answers.
struct Counter {
    register: Register,
    folder: String,
    file: NumberFile,
}

impl Counter {
    /// Readings in which two counters must agree to be one, some updates apart: a counter updates every millisecond.
    const ROUNDS: usize = 4;
    const PAUSE: Duration = Duration::from_millis(3);

    /// Whether two counters are one that is shown twice, as processors of several dies do: whenever asked, the other
    /// stands between two readings of this one. At 0 they tell nothing. Most pairs differ at once, which takes no time.
    fn mirrors(&self, other: &Self) -> bool {
        let agree = |round| {
            if round > 0 {
                std::thread::sleep(Self::PAUSE);
            }
            let read = |counter: &Self| counter.file.read::<u64>();
            let (Ok(before), Ok(between), Ok(after)) = (read(self), read(other), read(self)) else { return false };
            between > 0 && (before..=after).contains(&between)
        };
        domain_kind(&self.register.name) == domain_kind(&other.register.name) && (0..Self::ROUNDS).all(agree)
    }
}

/// What the zones turned out to be.
#[derive(Default)]
struct OpenedCounters {
    counters: Vec<Counter>,
    missing: BTreeMap<String, String>,
    /// The first file that this user may not read.
    refused: Option<PathBuf>,
    /// Packages that do not answer.
    silent: Vec<String>,
}

impl OpenedCounters {
    fn take(&mut self, root: &Path, zone: &Zone) {
        let (name, opened) = match zone.domain(root) {
            Ok(domain) => (format!("{domain} ({})", zone.folder), self.counter(root, zone, &domain)),
            Err(error) => (zone.folder.clone(), Err(self.refusal(root.join(&zone.folder), fault(&error)))),
        };
        if let Err(reason) = opened {
            self.missing.insert(name, reason);
        }
    }

    /// Opens a zone's counter, or says why not.
    fn counter(&mut self, root: &Path, zone: &Zone, domain: &str) -> Result<(), String> {
        match domain_kind(domain) {
            "package" | "dram" | "psys" => {}
            "core" | "uncore" => return Err("it is a part of the package's".to_owned()),
            _ => return Err("it is not known whether it is inside another".to_owned()),
        }
        if let Some(counted) = self.counters.iter().find(|counter| counter.register.name == domain) {
            return Err(format!("it is the same counter as {}", counted.folder));
        }
        let path = root.join(&zone.folder).join("energy_uj");
        // One that does not answer now is left out for good: that a counter comes and goes is not known to happen.
        let file = NumberFile::open(&path).and_then(|file| file.read::<u64>().map(|_| file));
        let file = file.map_err(|fault| {
            self.silent.extend(is_package(domain).then(|| domain.to_owned()));
            self.refusal(path, fault)
        })?;
        let range_j = range_j(&root.join(&zone.folder));
        let register = Register { name: domain.to_owned(), kind: RegisterKind::Counter, range_j };
        let counter = Counter { register, folder: zone.folder.clone(), file };
        if let Some(shown) = self.counters.iter().find(|shown| shown.mirrors(&counter)) {
            return Err(format!("it is the same counter as {}: both always show one value", shown.folder));
        }
        if range_j.is_none() {
            let reason = "max_energy_range_uj cannot be read: where the counter starts again at 0, energy is unknown";
            self.missing.insert(format!("{domain} range"), reason.to_owned());
        }
        self.counters.push(counter);
        Ok(())
    }

    /// Words for a fault; a refusal is remembered.
    fn refusal(&mut self, path: PathBuf, fault: Fault) -> String {
        if fault == Fault::Permission {
            self.refused.get_or_insert(path);
        }
        reason(fault).to_owned()
    }

    fn into_source(mut self) -> Rapl {
        // One that answers in a second way is no loss.
        self.silent.retain(|domain| self.counters.iter().all(|counter| counter.register.name != *domain));
        if !self.silent.is_empty() {
            let why = format!("energy is without {}, which cannot be read", self.silent.join(", "));
            self.missing.insert(PACKAGES.to_owned(), why);
        }
        let (registers, files) =
            self.counters.into_iter().map(|Counter { register, file, .. }| (register, file)).unzip();
        let device = processor().unwrap_or_else(|| "processor".to_owned());
        let sensor =
            Sensor { registers, missing: self.missing, ..Sensor::new("rapl".to_owned(), SensorKind::Rapl, device) };
        Rapl { sensor, files }
    }
}

/// Joules after which a zone's counter starts again at 0. `None`: that cannot be read.
fn range_j(zone: &Path) -> Option<f64> {
    let range = NumberFile::open(&zone.join("max_energy_range_uj")).and_then(|file| file.read::<u64>());
    range.ok().filter(|&range| range > 0).map(joules)
}

/// The processor by its own name. `None`: the system does not tell.
fn processor() -> Option<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").ok()?;
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == "model name").map(|(_, name)| name.trim().to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "2^53 µJ are 9 GJ; counters start again long before")]
fn joules(microjoules: u64) -> f64 {
    microjoules as f64 / 1e6
}

impl PowerSource for Rapl {
    fn sensor(&self) -> &Sensor {
        &self.sensor
    }

    fn read(&mut self, due: Due, now: &dyn Fn() -> Nanos, each: &mut dyn FnMut(Reading)) {
        for (register, (what, file)) in (0..).zip(self.sensor.registers.iter().zip(&self.files)) {
            if !due.has(what.kind) {
                continue;
            }
            let begin = now();
            let value = match what.kind {
                RegisterKind::State => file.read::<i32>().map(|thousandths| f64::from(thousandths) / 1e3),
                _ => file.read().map(joules),
            };
            let end = now();
            each(Reading { register, begin, end, value });
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::hwmon::tests::{as_nobody, forbid};
    use super::*;

    /// A powercap folder. Of each zone: its folder, name, microjoules and range; a file is left out where that is empty.
    fn tree(zones: &[[&str; 4]]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for [folder, texts @ ..] in zones {
            fs::create_dir(root.path().join(folder)).unwrap();
            for (file, text) in ["name", "energy_uj", "max_energy_range_uj"].into_iter().zip(texts) {
                if !text.is_empty() {
                    fs::write(root.path().join(folder).join(file), format!("{text}\n")).unwrap();
                }
            }
        }
        root
    }

    fn names(rapl: &Rapl) -> Vec<&str> {
        rapl.sensor().registers.iter().map(|register| register.name.as_str()).collect()
    }

    fn values(rapl: &mut Rapl) -> Vec<Result<f64, Fault>> {
        let mut values = Vec::new();
        rapl.read(Due::ENERGY, &|| Nanos(7), &mut |reading| {
            assert_eq!((usize::from(reading.register), reading.begin), (values.len(), Nanos(7)));
            values.push(reading.value);
        });
        values
    }

    #[test]
    fn packages_memory_and_platform_stand_apart_and_parts_are_left_out() {
        let root = tree(&[
            ["intel-rapl", "", "", ""],
            ["intel-rapl:10", "psys", "9000000", "1"],
            ["intel-rapl:1", "package-1", "2500000", "262143328850"],
            ["intel-rapl:1:0", "dram", "500000", "65712999613"],
            ["intel-rapl:0", "package-0", "1", "262143328850"],
            ["intel-rapl:0:0", "core", "3", "262143328850"],
            ["intel-rapl:0:1", "dram", "0", "65712999613"],
            ["intel-rapl:0:2", "gpu", "3", "3"],
            ["dtpm:0", "package-9", "3", "3"],
        ]);
        let mut rapl = open(root.path()).unwrap();
        assert_eq!(names(&rapl), ["package-0", "dram-0", "package-1", "dram-1", "psys"]);
        assert_eq!(values(&mut rapl), [Ok(1e-6), Ok(0.0), Ok(2.5), Ok(0.5), Ok(9.0)]);
        let sensor = rapl.sensor();
        let ranges: Vec<_> = sensor.registers.iter().map(|register| register.range_j.unwrap()).collect();
        assert_eq!(ranges, [262_143.328_85, 65_712.999_613, 262_143.328_85, 65_712.999_613, 1e-6]);
        assert!(sensor.registers.iter().all(|register| register.kind == RegisterKind::Counter));
        assert_eq!(sensor.missing.keys().collect::<Vec<_>>(), ["core-0 (intel-rapl:0:0)", "gpu-0 (intel-rapl:0:2)"]);
        assert_eq!(names(&rapl).into_iter().map(is_package).collect::<Vec<_>>(), [true, false, true, false, false]);
        assert!(is_package("package-0-die-1") && !is_package("psys-1"));
    }

    #[test]
    fn a_second_way_to_a_counter_counts_where_the_first_does_not_answer() {
        let both = [["intel-rapl-mmio:0", "package-0", "5", "9"], ["intel-rapl:0", "package-0", "4", "9"]];
        let rapl = open(tree(&both).path()).unwrap();
        assert_eq!(names(&rapl), ["package-0"]);
        assert_eq!(rapl.sensor().missing["package-0 (intel-rapl-mmio:0)"], "it is the same counter as intel-rapl:0");
        let mut second = open(tree(&[both[0], ["intel-rapl:0", "package-0", "broken", "9"]]).path()).unwrap();
        assert_eq!(values(&mut second), [Ok(5e-6)]);
        assert_eq!(second.sensor().missing["package-0 (intel-rapl:0)"], "it does not answer with a number");
        assert!(!second.sensor().missing.contains_key(PACKAGES), "its energy is there");
    }

    #[test]
    fn a_range_that_cannot_be_read_is_none() {
        for range in ["", "0", "-1", "unknown"] {
            let rapl = open(tree(&[["intel-rapl:0", "package-0", "4", range]]).path()).unwrap();
            assert_eq!(rapl.sensor().registers[0].range_j, None, "{range:?}");
            assert!(rapl.sensor().missing["package-0 range"].contains("max_energy_range_uj"));
        }
    }

    #[test]
    fn a_counter_shown_by_two_dies_counts_once() {
        let dies = |first, second| {
            let first = ["intel-rapl:0", "package-0-die-0", first, "9"];
            let second = ["intel-rapl:1", "package-0-die-1", second, ""];
            open(tree(&[first, second, ["intel-rapl:0:0", "dram", "71", "9"]]).path()).unwrap()
        };
        let mirrored = dies("71", "71");
        assert_eq!(names(&mirrored), ["package-0-die-0", "dram-0-die-0"]);
        let why = "it is the same counter as intel-rapl:0: both always show one value";
        let missing: Vec<_> = mirrored.sensor().missing.iter().collect();
        assert_eq!(missing, [(&"package-0-die-1 (intel-rapl:1)".to_owned(), &why.to_owned())]);
        for (first, second) in [("71", "72"), ("0", "0")] {
            assert_eq!(names(&dies(first, second)), ["package-0-die-0", "dram-0-die-0", "package-0-die-1"]);
        }
    }

    #[test]
    fn a_refusal_names_the_file_and_the_remedy() {
        let root = tree(&[["intel-rapl:0", "package-0", "4", "9"], ["intel-rapl:1", "package-1", "6", "9"]]);
        let files = ["intel-rapl:0/energy_uj", "intel-rapl:1/energy_uj"].map(|file| root.path().join(file));
        forbid(root.path(), &files[0]);
        let rapl = as_nobody(|| open(root.path())).unwrap();
        assert_eq!(names(&rapl), ["package-1"]);
        assert_eq!(rapl.sensor().missing["package-0 (intel-rapl:0)"], "this user may not read it");
        assert_eq!(rapl.sensor().missing[PACKAGES], "energy is without package-0, which cannot be read");
        forbid(root.path(), &files[1]);
        let absent = as_nobody(|| open(root.path())).unwrap_err();
        assert_eq!(absent, Absent::Permission { path: files[0].clone() });
        let text = absent.to_string();
        assert!(text.starts_with(files[0].to_str().unwrap()) && text.contains("`sudo chmod a+r "), "{text}");
    }

    #[test]
    fn a_machine_without_counters_says_what_it_lacks() {
        let root = tree(&[["intel-rapl", "", "", ""]]);
        assert_eq!(open(&root.path().join("gone")).unwrap_err(), Absent::NoInterface);
        assert_eq!(open(root.path()).unwrap_err(), Absent::NoCounter);
        // How a container hides them: the folder's link leads nowhere.
        std::os::unix::fs::symlink(root.path().join("gone"), root.path().join("intel-rapl:0")).unwrap();
        assert_eq!(open(root.path()).unwrap_err(), Absent::NoCounter);
    }

    #[test]
    fn what_goes_wrong_while_it_is_open_is_never_0() {
        let root = tree(&[["intel-rapl:0", "package-0", "4000000", "9"]]);
        let mut rapl = open(root.path()).unwrap();
        let file = root.path().join("intel-rapl:0/energy_uj");
        for text in ["", "\n", "-5", "4e6", "1 2", "\u{fffd}", "99999999999999999999999"] {
            fs::write(&file, text).unwrap();
            assert_eq!(values(&mut rapl), [Err(Fault::Unreadable)], "{text:?}");
        }
        fs::write(&file, "5000000\n").unwrap();
        assert_eq!(values(&mut rapl), [Ok(5.0)], "no reading is kept from before");
    }
}
