//! Temperatures of processor packages, through the kernel's hwmon interface.

use std::fs;
use std::path::Path;

use super::hwmon::NumberFile;

/// Most temperatures a processor shows: one for each core, and one for each package.
const MOST: u32 = 200;

/// Every package's temperature below `root`: its register's name, and the file with thousandths of a degree.
pub(super) fn packages(root: &Path) -> Vec<(String, NumberFile)> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let mut folders: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let mut found: Vec<(String, NumberFile)> = Vec::new();
    for folder in folders {
        let text = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default().trim().to_owned();
        // Intel names its packages; AMD's driver shows one processor and calls its temperature Tctl.
        let is_package: fn(&str) -> bool = match text("name").as_str() {
            "coretemp" => |label| label.starts_with("Package id"),
            "k10temp" | "zenpower" => |label| label == "Tctl",
            _ => continue,
        };
        let labelled = |n: &u32| is_package(&text(&format!("temp{n}_label")));
        let Some(number) =
            (1..=MOST).take_while(|n| *n == 1 || folder.join(format!("temp{n}_input")).exists()).find(labelled)
        else {
            continue;
        };
        if let Ok(file) = NumberFile::open(&folder.join(format!("temp{number}_input"))) {
            found.push((format!("package-{}_temperature_c", found.len()), file));
        }
    }
    found
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_by_their_labels() {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("hwmon0/name", "nvme"),
            ("hwmon0/temp1_label", "Tctl"),
            ("hwmon0/temp1_input", "1"),
            ("hwmon1/name", "coretemp"),
            ("hwmon1/temp1_label", "Package id 0"),
            ("hwmon1/temp1_input", "45000"),
            ("hwmon2/name", "coretemp"),
            ("hwmon2/temp1_input", "40000"),
            ("hwmon2/temp2_label", "Package id 1"),
            ("hwmon2/temp2_input", "46000"),
            ("hwmon3/name", "k10temp"),
            ("hwmon3/temp1_label", "Tctl"),
            ("hwmon3/temp1_input", "61250"),
        ] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        let found: Vec<(String, i64)> =
            packages(root.path()).into_iter().map(|(name, file)| (name, file.read().unwrap())).collect();
        let expected = [("package-0", 45_000), ("package-1", 46_000), ("package-2", 61_250)];
        assert_eq!(found, expected.map(|(name, value)| (format!("{name}_temperature_c"), value)));
        assert!(packages(&root.path().join("gone")).is_empty());
    }
}
