//! A processor's caches, as Linux tells of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::units::Bytes;

/// One cache for data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cache {
    /// 1 is nearest to the core.
    pub level: u32,
    /// Its size.
    pub bytes: Bytes,
    /// Processors that share it, e.g. `0-3`.
    pub processors: String,
}

/// This machine's. Empty: it does not tell.
#[must_use]
pub fn here() -> Vec<Cache> {
    below(Path::new("/sys/devices/system/cpu"))
}

/// All caches of the highest level together. `None`: none is known.
#[must_use]
pub fn last_level(caches: &[Cache]) -> Option<Bytes> {
    let last = caches.iter().map(|cache| cache.level).max()?;
    Some(Bytes(caches.iter().filter(|cache| cache.level == last).map(|cache| cache.bytes.0).sum()))
}

fn below(processors: &Path) -> Vec<Cache> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let found = entries(processors).flat_map(|processor| entries(&processor.join("cache")));
    // Every processor tells of the caches that it shares with others.
    let distinct: BTreeSet<Cache> = found.filter_map(|folder| cache(&folder)).collect();
    distinct.into_iter().collect()
}

fn cache(folder: &Path) -> Option<Cache> {
    let told = |name: &str| fs::read_to_string(folder.join(name)).ok().map(|text| text.trim().to_owned());
    if told("type")? == "Instruction" {
        return None;
    }
    let size = told("size")?;
    let kib: u64 = size.strip_suffix('K')?.parse().ok()?;
    Some(Cache { level: told("level")?.parse().ok()?, bytes: Bytes(kib << 10), processors: told("shared_cpu_list")? })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_shared_cache_is_counted_once_and_instructions_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        for processor in 0..4 {
            let pair = if processor < 2 { "0-1" } else { "2-3" };
            let own = processor.to_string();
            let told = [
                ("1", "Data", "32K", own.as_str()),
                ("1", "Instruction", "32K", &own),
                ("3", "Unified", "16384K", pair),
            ];
            for (index, (level, kind, size, shared)) in told.into_iter().enumerate() {
                let folder = root.path().join(format!("cpu{processor}/cache/index{index}"));
                fs::create_dir_all(&folder).unwrap();
                for (name, text) in [("level", level), ("type", kind), ("size", size), ("shared_cpu_list", shared)] {
                    fs::write(folder.join(name), format!("{text}\n")).unwrap();
                }
            }
        }
        let caches = below(root.path());
        assert_eq!(caches.iter().map(|cache| cache.level).collect::<Vec<_>>(), [1, 1, 1, 1, 3, 3]);
        assert_eq!(last_level(&caches), Some(Bytes(32 << 20)));
        assert_eq!(last_level(&below(Path::new("/nowhere"))), None);
    }
}
