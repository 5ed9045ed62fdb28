//! The processor side of a machine: what its speed depends on and can be read without privileges.
//!
//! Portable facts come from `sysinfo`, the rest from Linux's `/proc` and `/sys`; elsewhere those are `None`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::hash::sha256_hex;
use crate::process::boot_id;
use crate::record::manifest::{Machine, listed};
use crate::telemetry::control_group::{self, Group};
use crate::telemetry::cpu::affinity;
use crate::units::Bytes;

/// This machine now.
#[must_use]
pub fn collect() -> Machine {
    let mut machine = read(Path::new("/"));
    let ram = sysinfo::MemoryRefreshKind::nothing().with_ram();
    let system = sysinfo::System::new_with_specifics(sysinfo::RefreshKind::nothing().with_memory(ram));
    let gib = system.ok().map(|system| (system.total_memory() + (1 << 29)) >> 30);
    machine.memory_gib = gib.filter(|&gib| gib > 0);
    machine.os = sysinfo::System::long_os_version().ok();
    machine.kernel = sysinfo::System::kernel_version().ok();
    machine.physical_cores =
        machine.physical_cores.or_else(|| u32::try_from(sysinfo::System::physical_core_count().ok()?).ok());
    machine.cpu_affinity = affinity().map(|cpus| cpu_list(&cpus));
    machine
}

/// What `/proc` and `/sys` below `root` tell; tests give a root of their own.
fn read(root: &Path) -> Machine {
    let text = |path: &str| read_line(&root.join(path));
    let cpuinfo = std::fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let online = text("sys/devices/system/cpu/online").map_or(available, |list| listed(&list).len());
    let flags = field(&cpuinfo, "flags");
    let dmi = ["sys_vendor", "product_name"].map(|name| text(&format!("sys/class/dmi/id/{name}")));
    let firmware = dmi.into_iter().flatten().collect::<Vec<_>>().join(" ");
    Machine {
        cpu_model: field(&cpuinfo, "model name").or_else(|| field(&cpuinfo, "Hardware")),
        microcode: field(&cpuinfo, "microcode"),
        arch: std::env::consts::ARCH.to_owned(),
        physical_cores: physical_cores(&cpuinfo),
        logical_cores: Some(u32::try_from(online).unwrap_or(u32::MAX)),
        smt: text("sys/devices/system/cpu/smt/active").map(|text| text == "1"),
        numa_nodes: text("sys/devices/system/node/online")
            .map(|list| u32::try_from(listed(&list).len()).unwrap_or(u32::MAX)),
        cpu_affinity: None,
        cpu_quota_cores: cpu_quota(root),
        memory_gib: None,
        frequency_driver: text("sys/devices/system/cpu/cpufreq/policy0/scaling_driver"),
        governors: governors(&root.join("sys/devices/system/cpu/cpufreq")),
        boost: text("sys/devices/system/cpu/cpufreq/boost")
            .map(|text| text == "1")
            .or_else(|| text("sys/devices/system/cpu/intel_pstate/no_turbo").map(|text| text == "0")),
        huge_pages: text("sys/kernel/mm/transparent_hugepage/enabled").and_then(|text| chosen(&text)),
        os: None,
        kernel: None,
        virtualised: flags.map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        firmware: (!firmware.is_empty()).then_some(firmware),
        container: container(root),
    }
}

/// Tells one boot from another without naming the machine: the kernel's random boot id, hashed.
#[must_use]
pub fn boot_sha256() -> Option<String> {
    boot_id().map(|id| sha256_hex(id.as_bytes()))
}

fn read_line(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// The first `name : value` of `/proc/cpuinfo`.
fn field(cpuinfo: &str, name: &str) -> Option<String> {
    let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(key, _)| key.trim() == name);
    values.next().map(|(_, value)| value.trim().to_owned())
}

/// Different pairs of package and core. `None` where the file does not name them, as on ARM.
fn physical_cores(cpuinfo: &str) -> Option<u32> {
    let cores: BTreeSet<_> =
        cpuinfo.split("\n\n").filter_map(|cpu| Some((field(cpu, "physical id")?, field(cpu, "core id")?))).collect();
    u32::try_from(cores.len()).ok().filter(|&n| n > 0)
}

fn governors(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let policies = entries.filter_map(|entry| {
        let governor = read_line(&entry.path().join("scaling_governor"))?;
        Some((entry.file_name().to_string_lossy().into_owned(), governor))
    });
    policies.collect()
}

/// `always [madvise] never` → `madvise`.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(mode, _)| mode.to_owned())
}

/// The tightest limit on the way from this process's control group to the root.
fn cpu_quota(root: &Path) -> Option<f64> {
    let groups = control_group::of_process(root, None, "cpu");
    let quotas = groups.iter().filter_map(group_quota);
    quotas.min_by(f64::total_cmp)
}

/// Memory that a control group grants this process. `None`: no limit, or not told.
#[must_use]
pub fn memory_limit() -> Option<Bytes> {
    memory_limit_below(Path::new("/"))
}

/// As [`memory_limit`]; what `/proc` and `/sys` below `root` tell.
fn memory_limit_below(root: &Path) -> Option<Bytes> {
    let limits = control_group::of_process(root, None, "memory").into_iter().filter_map(|group| {
        let file = if group.version_1 { "memory.limit_in_bytes" } else { "memory.max" };
        // `max` in version 2; version 1 writes a number beyond any memory.
        read_line(&group.folder.join(file))?.parse().ok()
    });
    limits.min().map(Bytes)
}

fn group_quota(Group { folder, version_1 }: &Group) -> Option<f64> {
    let (quota, period) = if *version_1 {
        (read_line(&folder.join("cpu.cfs_quota_us"))?, read_line(&folder.join("cpu.cfs_period_us"))?)
    } else {
        let text = read_line(&folder.join("cpu.max"))?;
        let (quota, period) = text.split_once(' ')?;
        (quota.to_owned(), period.to_owned())
    };
    // `max` in version 2 and -1 in version 1 mean no limit.
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn container(root: &Path) -> Option<String> {
    if root.join(".dockerenv").exists() {
        return Some("docker".to_owned());
    }
    root.join("run/.containerenv").exists().then(|| "podman".to_owned())
}

/// 0, 1, 2, 3, 8 → `0-3,8`.
fn cpu_list(cpus: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &cpu in cpus {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => ranges.push((cpu, cpu)),
        }
    }
    let texts = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn machine_of(files: &[(&str, &str)]) -> Machine {
        read(folder_of(files).path())
    }

    fn folder_of(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn cpu_lists_go_both_ways() {
        for list in ["0", "0-3,8", "1,3,5-6"] {
            assert_eq!(cpu_list(&listed(list)), list);
        }
    }

    #[test]
    fn a_server_with_two_packages() {
        let cpu = |n, package, core| {
            format!(
                "processor\t: {n}\nmodel name\t: Some CPU\nphysical id\t: {package}\ncore id\t: {core}\nmicrocode\t: 0x1\nflags\t\t: fpu hypervisor\n\n"
            )
        };
        let cpuinfo = [cpu(0, 0, 0), cpu(1, 0, 0), cpu(2, 1, 0), cpu(3, 1, 0)].concat();
        let machine = machine_of(&[
            ("proc/cpuinfo", &cpuinfo),
            ("sys/devices/system/cpu/online", "0-3\n"),
            ("sys/devices/system/cpu/smt/active", "1\n"),
            ("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "powersave\n"),
            ("sys/devices/system/cpu/cpufreq/policy0/scaling_driver", "intel_pstate\n"),
            ("sys/devices/system/cpu/intel_pstate/no_turbo", "0\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("sys/devices/system/node/online", "0-1\n"),
            ("sys/class/dmi/id/sys_vendor", "ACME\n"),
            (".dockerenv", ""),
        ]);
        assert_eq!(machine.cpu_model.as_deref(), Some("Some CPU"));
        assert_eq!((machine.physical_cores, machine.logical_cores), (Some(2), Some(4)));
        assert_eq!((machine.smt, machine.boost, machine.virtualised), (Some(true), Some(true), Some(true)));
        assert_eq!(machine.governors, BTreeMap::from([("policy0".to_owned(), "powersave".to_owned())]));
        assert_eq!(machine.huge_pages.as_deref(), Some("madvise"));
        assert_eq!(machine.numa_nodes, Some(2));
        assert_eq!(machine.firmware.as_deref(), Some("ACME"));
        assert_eq!(machine.container.as_deref(), Some("docker"));
    }

    #[test]
    fn what_is_not_told_is_none() {
        let machine = machine_of(&[]);
        assert_eq!((machine.cpu_model, machine.memory_gib), (None, None));
        assert_eq!((machine.smt, machine.boost, machine.virtualised), (None, None, None));
        assert_eq!(machine.cpu_quota_cores, None);
        assert!(machine.governors.is_empty());
    }

    #[test]
    fn the_tightest_quota_counts() {
        let machine = machine_of(&[
            ("proc/self/cgroup", "0::/outer/inner\n"),
            ("sys/fs/cgroup/outer/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n"),
        ]);
        assert_eq!(machine.cpu_quota_cores, Some(1.5));
        let machine = machine_of(&[
            ("proc/self/cgroup", "4:memory:/m\n3:cpu,cpuacct:/job\n"),
            ("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "200000\n"),
            ("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(machine.cpu_quota_cores, Some(2.0));
    }

    #[test]
    fn the_tightest_memory_limit_counts() {
        let limit_of = |files: &[(&str, &str)]| {
            let root = folder_of(files);
            memory_limit_below(root.path())
        };
        let (outer, inner) = ("sys/fs/cgroup/outer/memory.max", "sys/fs/cgroup/outer/inner/memory.max");
        let group = ("proc/self/cgroup", "0::/outer/inner\n");
        assert_eq!(limit_of(&[group, (outer, "2147483648\n"), (inner, "max\n")]), Some(Bytes(2 << 30)));
        assert_eq!(limit_of(&[group, (outer, "2147483648\n"), (inner, "1073741824\n")]), Some(Bytes(1 << 30)));
        assert_eq!(limit_of(&[group, (inner, "max\n")]), None);
        let version_1 = ("proc/self/cgroup", "4:memory:/m\n3:cpu,cpuacct:/job\n");
        let limit = ("sys/fs/cgroup/memory/m/memory.limit_in_bytes", "3221225472\n");
        assert_eq!(limit_of(&[version_1, limit]), Some(Bytes(3 << 30)));
        assert_eq!(limit_of(&[]), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_is_told() {
        let machine = collect();
        assert!(machine.memory_gib > Some(0));
        assert!(machine.os.is_some() && machine.kernel.is_some());
        assert!(!affinity().unwrap().is_empty());
    }
}
