//! What a path is that was given for a model folder and is none, in words that say what to give instead.

use std::fs;
use std::path::{Component, Path};

use super::Error;

/// Why `folder` is no model folder, where more can be said than that its `config.json` is missing. `None`: no more can.
pub(super) fn for_a_folder(folder: &Path) -> Option<Error> {
    let says = |message: String| Some(Error::malformed(folder, message));
    if folder.components().any(|part| part == Component::Normal("~".as_ref())) && !folder.exists() {
        return says("`~` is not expanded here: write the home folder out".to_owned());
    }
    if !folder.exists() {
        return says("there is no such folder".to_owned());
    }
    if folder.is_file() {
        return says("is a file, expected a model folder: config.json, tokenizer.json and *.safetensors".to_owned());
    }
    let mut snapshots = names_in(&folder.join("snapshots"));
    snapshots.sort_unstable();
    if !snapshots.is_empty() {
        let found = snapshots.join(", snapshots/");
        return says(format!("is a folder of the hub's cache, the model itself is one of: snapshots/{found}"));
    }
    None
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn words(folder: &Path) -> String {
        let said = for_a_folder(folder).unwrap().to_string();
        said.replace(&folder.display().to_string(), "FOLDER")
    }

    #[test]
    fn each_mistake_has_its_word() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(words(&place.path().join("none")), "FOLDER: there is no such folder");
        assert_eq!(words(Path::new("~/models/small")), "FOLDER: `~` is not expanded here: write the home folder out");
        let file = place.path().join("model.gguf");
        fs::write(&file, "GGUF").unwrap();
        assert!(words(&file).starts_with("FOLDER: is a file, expected a model folder"));
        for name in ["b1", "a2"] {
            fs::create_dir_all(place.path().join("snapshots").join(name)).unwrap();
        }
        assert_eq!(
            words(place.path()),
            "FOLDER: is a folder of the hub's cache, the model itself is one of: snapshots/a2, snapshots/b1"
        );
        assert!(for_a_folder(&place.path().join("snapshots/a2")).is_none());
    }
}
