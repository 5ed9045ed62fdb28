//! The kernel's power zones by the names of their folders.

use std::fs;
use std::io;
use std::path::Path;

/// A zone, by the name of its folder. In order: zones before their second ways, each before its parts.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Zone {
    /// Whether it is the second way (memory-mapped registers) to a counter.
    second_way: bool,
    /// Its number, then those of the parts on the way to it.
    numbers: Vec<u32>,
    pub(super) folder: String,
}

impl Zone {
    fn parse(folder: &str) -> Option<Self> {
        let (prefix, numbers) = folder.split_once(':')?;
        let second_way = prefix == "intel-rapl-mmio";
        if !second_way && prefix != "intel-rapl" {
            return None;
        }
        let numbers = numbers.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self { second_way, numbers, folder: folder.to_owned() })
    }

    /// What it counts, e.g. `package-0`. A part gets the number of its package: the kernel calls every memory `dram`.
    pub(super) fn domain(&self, root: &Path) -> io::Result<String> {
        let name_of = |folder: &str| fs::read_to_string(root.join(folder).join("name"));
        let name = name_of(&self.folder)?.trim().to_owned();
        let Some((whole, _)) = self.folder.rsplit_once(':').filter(|_| self.numbers.len() > 1) else {
            return Ok(name);
        };
        let package = name_of(whole)?;
        Ok(format!("{name}{}", package.trim().strip_prefix("package").unwrap_or_default()))
    }
}

/// All zones below `root`, in order.
pub(super) fn zones(root: &Path) -> io::Result<Vec<Zone>> {
    let folders = fs::read_dir(root)?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut zones: Vec<Zone> = folders.filter_map(|folder| Zone::parse(&folder)).collect();
    zones.sort();
    Ok(zones)
}
