//! Boards that tell their power through the kernel's hwmon interface: AMD's GPUs, and Intel's.
//!
//! Read is what the driver numbers 1: the whole board, or what comes nearest (of older boards the chip alone). Of a
//! processor with graphics inside, AMD's driver tells the power of the whole chip, which must not be added to the
//! processor's own counters.
//!
//! - AMD's driver shows power, as an average, at an instant or both, and no energy.
//! - Intel's driver shows energy and no power. Its hardware counts in 32 bits and starts again after some 260 kJ; the
//!   driver adds that up in 63 bits, so what it shows does not start again and has no range. That holds as long as it is
//!   read once in each such round, which any sampling does.
//!
//! A sleeping board does not answer, or is woken by each reading, as its driver decides.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::str::FromStr;

use super::{Due, Fault, PowerSource, Reading};
use crate::terms::sensor::{Register, RegisterKind, Sensor};
use crate::terms::{SIMULATED, SensorKind};
use crate::units::Nanos;

/// Where the kernel shows its hardware sensors.
pub const ROOT: &str = "/sys/class/hwmon";

/// Drivers of boards that compute; others are fans, disks and the like.
const DRIVERS: [&str; 3] = ["amdgpu", "xe", "i915"];

/// Files of a board with the register each becomes, and how many of the file's unit make one of the register's.
const FILES: [(&str, &str, RegisterKind, f64); 5] = [
    ("energy1_input", "counter", RegisterKind::Counter, 1e6),
    ("power1_input", "instant", RegisterKind::Instant, 1e6),
    ("power1_average", "average", RegisterKind::Average, 1e6),
    ("temp1_input", "temperature_c", RegisterKind::State, 1e3),
    ("freq1_input", "clock_mhz", RegisterKind::State, 1e6),
];

/// One board's sensor.
#[derive(Debug)]
pub struct Hwmon {
    sensor: Sensor,
    /// One for each register, in that order.
    channels: Vec<Channel>,
}

/// Finds and opens the boards below `root`, which is [`ROOT`] on a real machine, in the kernel's order.
///
/// A board that shows energy or power is among them even if this user may read neither: [`Sensor::missing`] says so.
#[must_use]
pub fn open(root: &Path) -> Vec<Hwmon> {
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix("hwmon")?.parse().ok();
    let mut numbers: Vec<u32> = fs::read_dir(root).into_iter().flatten().flatten().filter_map(number).collect();
    numbers.sort_unstable();
    numbers.into_iter().filter_map(|number| board(&root.join(format!("hwmon{number}")), number)).collect()
}

/// A board's sensor. `None`: it is something else, or shows neither energy nor power.
fn board(folder: &Path, number: u32) -> Option<Hwmon> {
    let driver = line(&folder.join("name")).filter(|name| DRIVERS.contains(&name.as_str()))?;
    let shows = |&(file, _, kind, _): &(&str, _, _, _)| kind != RegisterKind::State && folder.join(file).exists();
    if !FILES.iter().any(shows) {
        return None;
    }
    let (mut registers, mut channels, mut missing) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (file, name, kind, units) in FILES {
        match Channel::open(folder, file, kind, units) {
            Ok(channel) => {
                registers.push(Register { name: name.to_owned(), kind, range_j: None });
                channels.push(channel);
            }
            Err(reason) => {
                missing.insert(name.to_owned(), reason);
            }
        }
    }
    let limit_w = limit_w(folder, &driver).map_err(|reason| missing.insert("limit_w".to_owned(), reason)).ok();
    let device = folder.join("device");
    let name = device_name(&device).unwrap_or(driver);
    let sensor = Sensor {
        // AMD's driver; 64 bits in hexadecimal.
        uuid: line(&device.join("unique_id")),
        driver: line(&device.join("driver/module/version")),
        limit_w,
        registers,
        missing,
        ..Sensor::new(format!("hwmon:{number}"), SensorKind::Hwmon, name)
    };
    Some(Hwmon { sensor, channels })
}

impl Hwmon {
    /// The same, called simulated: its files are not the kernel's.
    #[must_use]
    pub fn scripted(mut self) -> Self {
        self.sensor.id = format!("{SIMULATED}-{}", self.sensor.id);
        self.sensor.simulated = true;
        self
    }
}

/// Watts the board is held to over seconds, or why that is not known.
fn limit_w(folder: &Path, driver: &str) -> Result<f64, String> {
    // What Intel calls a cap is a limit for bursts.
    let file = if driver == "amdgpu" { "power1_cap" } else { "power1_max" };
    let limit = Channel::open(folder, file, RegisterKind::State, 1e6)?.read();
    let limit = limit.map_err(|fault| reason(fault).to_owned())?;
    if limit > 0.0 { Ok(limit) } else { Err(format!("{file} says that no limit is set")) }
}

/// The name the board carries, else the numbers of its maker and model.
fn device_name(device: &Path) -> Option<String> {
    let model = || {
        let [vendor, model] = ["vendor", "device"].map(|file| line(&device.join(file)));
        Some(format!("PCI device {}:{}", vendor?.trim_start_matches("0x"), model?.trim_start_matches("0x")))
    };
    line(&device.join("product_name")).or_else(model)
}

fn line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|line| !line.is_empty())
}

/// An open file of a board.
#[derive(Debug)]
struct Channel {
    file: NumberFile,
    kind: RegisterKind,
    /// How many of the file's unit make one of the register's.
    units: f64,
}

impl Channel {
    /// Opens a file, or says why not. One that does not answer now may do so once its board is awake.
    fn open(folder: &Path, file: &str, kind: RegisterKind, units: f64) -> Result<Self, String> {
        let path = folder.join(file);
        if !path.exists() {
            let part = kind == RegisterKind::Counter && folder.join("energy2_input").exists();
            let beside = if part { ", but counts a part of the board (energy2_input)" } else { "" };
            return Err(format!("the driver does not show {file}{beside}"));
        }
        let file = NumberFile::open(&path).map_err(|fault| reason(fault).to_owned())?;
        let channel = Self { file, kind, units };
        match channel.read() {
            Err(fault @ (Fault::NotSupported | Fault::Permission)) => Err(reason(fault).to_owned()),
            // As for a board of two halves, of which one tells the power of both.
            Ok(0.0) if kind != RegisterKind::State && kind != RegisterKind::Counter => {
                Err("it reads 0 W, which no board draws: its power is not measured here".to_owned())
            }
            Ok(_) | Err(Fault::Lost | Fault::Unreadable) => Ok(channel),
        }
    }

    /// In the register's unit.
    #[expect(clippy::cast_precision_loss, reason = "2^53 µJ are 9 GJ")]
    fn read(&self) -> Result<f64, Fault> {
        /// What some versions of AMD's driver show as microwatts instead of failing: an error's number, below 0, taken
        /// for one of 32 bits without sign.
        const ERRORS: std::ops::Range<i64> = (1 << 32) - 4096..1 << 32;
        let number: i64 = self.file.read()?;
        let power = matches!(self.kind, RegisterKind::Instant | RegisterKind::Average);
        if self.kind != RegisterKind::State && number < 0 || power && ERRORS.contains(&number) {
            return Err(Fault::Unreadable);
        }
        Ok(number as f64 / self.units)
    }
}

impl PowerSource for Hwmon {
    fn sensor(&self) -> &Sensor {
        &self.sensor
    }

    fn read(&mut self, due: Due, now: &dyn Fn() -> Nanos, each: &mut dyn FnMut(Reading)) {
        for (register, channel) in (0..).zip(&self.channels) {
            if !due.has(channel.kind) {
                continue;
            }
            let begin = now();
            let value = channel.read();
            let end = now();
            each(Reading { register, begin, end, value });
        }
    }
}

/// A file of the kernel's that holds one whole number, kept open: reading it is one system call and allocates nothing.
#[derive(Debug)]
pub(super) struct NumberFile(File);

impl NumberFile {
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        File::open(path).map(Self).map_err(|error| fault(&error))
    }

    /// The number now. A text that is not one is a fault, never 0.
    pub(super) fn read<N: FromStr>(&self) -> Result<N, Fault> {
        let mut text = [0; 64];
        let length = self.0.read_at(&mut text, 0).map_err(|error| fault(&error))?;
        let text = text.get(..length).and_then(|text| str::from_utf8(text).ok());
        text.and_then(|text| text.trim().parse().ok()).ok_or(Fault::Unreadable)
    }
}

/// What an error of the system means for a reading.
pub(super) fn fault(error: &io::Error) -> Fault {
    match error.raw_os_error() {
        Some(libc::EACCES) => Fault::Permission,
        Some(libc::ENODEV | libc::ENXIO | libc::ENOENT) => Fault::Lost,
        Some(libc::EOPNOTSUPP) => Fault::NotSupported,
        // EPERM as well: AMD's driver answers that while its board sleeps; it is no matter of this user's rights.
        _ => Fault::Unreadable,
    }
}

/// Words for a fault, for people.
pub(super) fn reason(fault: Fault) -> &'static str {
    match fault {
        Fault::NotSupported => "the device does not have it",
        Fault::Permission => "this user may not read it",
        Fault::Lost => "it is not there",
        Fault::Unreadable => "it does not answer with a number",
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Makes a file below `root` unreadable, and the way to it open to everybody.
    pub fn forbid(root: &Path, file: &Path) {
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(root, 0o755);
        set(file, 0o000);
    }

    /// Does `work` as a user without rights to the files of others; without root, as ourselves.
    pub fn as_nobody<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: takes no pointer. It changes the calling thread alone, which ends here.
                unsafe { libc::setfsuid(65534) };
                work()
            });
            thread.join().unwrap()
        })
    }

    /// A hwmon folder of boards, each a list of files with what they hold.
    fn tree(boards: &[(&str, &[(&str, &str)])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (folder, files) in boards {
            for (file, text) in *files {
                let path = root.path().join(folder).join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, format!("{text}\n")).unwrap();
            }
        }
        root
    }

    fn read(board: &mut Hwmon, states: bool) -> Vec<(String, Result<f64, Fault>)> {
        let mut readings = Vec::new();
        let due = if states { Due::ALL } else { Due::ENERGY };
        board.read(due, &|| Nanos(7), &mut |reading| readings.push((reading.register, reading.value)));
        let name = |register: u16| board.sensor.registers[usize::from(register)].name.clone();
        readings.into_iter().map(|(register, value)| (name(register), value)).collect()
    }

    fn missing(board: &Hwmon) -> Vec<&str> {
        board.sensor.missing.keys().map(String::as_str).collect()
    }

    #[test]
    fn an_amd_board_tells_power_and_state_in_our_units() {
        let files = [
            ("name", "amdgpu"),
            ("power1_average", "253000000"),
            ("temp1_input", "-1500"),
            ("freq1_input", "2124000000"),
            ("power1_cap", "303000000"),
            ("device/vendor", "0x1002"),
            ("device/device", "0x744c"),
            ("device/unique_id", "a1b2"),
        ];
        let disk = [("name", "nvme"), ("power1_input", "4")];
        let display = [("name", "i915"), ("temp1_input", "4000")];
        let root = tree(&[("hwmon10", &files), ("hwmon2", &files), ("hwmon0", &disk), ("hwmon1", &display)]);
        let mut boards = open(root.path());
        let ids: Vec<_> = boards.iter().map(|board| board.sensor().id.as_str()).collect();
        assert_eq!(ids, ["hwmon:2", "hwmon:10"]);
        let board = &mut boards[0];
        assert_eq!(read(board, false), [("average".to_owned(), Ok(253.0))]);
        let states = [("temperature_c".to_owned(), Ok(-1.5)), ("clock_mhz".to_owned(), Ok(2124.0))];
        assert_eq!(read(board, true)[1..], states);
        assert_eq!(missing(board), ["counter", "instant"]);
        let Sensor { device, uuid, limit_w, driver, .. } = board.sensor();
        assert_eq!((device.as_str(), uuid.as_deref(), *limit_w), ("PCI device 1002:744c", Some("a1b2"), Some(303.0)));
        assert_eq!(*driver, None);
        assert!(open(&root.path().join("gone")).is_empty());
    }

    #[test]
    fn an_intel_board_counts_energy_without_a_range() {
        let files = [("name", "xe"), ("energy1_input", "8000000000000"), ("power1_max", "0"), ("power1_cap", "9")];
        let boards = &mut open(tree(&[("hwmon3", &files)]).path());
        assert_eq!(read(&mut boards[0], true), [("counter".to_owned(), Ok(8e6))]);
        let sensor = boards[0].sensor();
        assert_eq!((sensor.registers[0].kind, sensor.registers[0].range_j), (RegisterKind::Counter, None));
        assert_eq!((sensor.device.as_str(), sensor.limit_w), ("xe", None));
        assert_eq!(sensor.missing["limit_w"], "power1_max says that no limit is set");
        let files = [("name", "i915"), ("power1_input", "1000000"), ("energy2_input", "5")];
        let boards = open(tree(&[("hwmon3", &files)]).path());
        assert!(boards[0].sensor().missing["counter"].ends_with("counts a part of the board (energy2_input)"));
    }

    #[test]
    fn power_of_0_and_what_is_refused_are_told_as_missing() {
        let files = [("name", "amdgpu"), ("power1_average", "0"), ("power1_input", "5")];
        let root = tree(&[("hwmon0", &files)]);
        forbid(root.path(), &root.path().join("hwmon0/power1_input"));
        let boards = as_nobody(|| open(root.path()));
        let sensor = boards[0].sensor();
        assert!(sensor.registers.is_empty());
        assert_eq!(sensor.missing["instant"], "this user may not read it");
        assert!(sensor.missing["average"].starts_with("it reads 0 W"));
    }

    #[test]
    fn what_goes_wrong_while_it_is_open_is_never_0() {
        let root = tree(&[("hwmon0", &[("name", "amdgpu"), ("power1_input", "5000000")])]);
        let boards = &mut open(root.path());
        // The last is -EPERM as 32 bits without sign.
        for text in ["", "-5", "watts", "5.0", "4294967295"] {
            fs::write(root.path().join("hwmon0/power1_input"), text).unwrap();
            assert_eq!(read(&mut boards[0], true), [("instant".to_owned(), Err(Fault::Unreadable))], "{text:?}");
        }
        // Files in memory outlive their names; the kernel's do not.
        for (error, expected) in [
            (libc::EACCES, Fault::Permission),
            (libc::ENODEV, Fault::Lost),
            (libc::ENOENT, Fault::Lost),
            (libc::EOPNOTSUPP, Fault::NotSupported),
            (libc::EPERM, Fault::Unreadable),
            (libc::EIO, Fault::Unreadable),
        ] {
            assert_eq!(fault(&io::Error::from_raw_os_error(error)), expected);
        }
    }

    #[test]
    fn a_sleeping_board_keeps_its_registers() {
        let root = tree(&[("hwmon0", &[("name", "amdgpu"), ("power1_average", "")])]);
        let boards = &mut open(root.path());
        fs::write(root.path().join("hwmon0/power1_average"), "9000000\n").unwrap();
        assert_eq!(read(&mut boards[0], false), [("average".to_owned(), Ok(9.0))]);
    }
}
