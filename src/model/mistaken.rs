//! What a path is that was given for a model folder and is none, in words that say what to give instead.

use std::fs;
use std::path::{Component, Path};

use super::Error;

/// What is wrong with a path that nobody expanded.
pub const HOME: &str = "`~` is not expanded here: write the home folder out";

/// How many folders are named that were perhaps meant.
const NAMED: usize = 6;

/// Whether a path as it was written begins with a home folder that only a shell expands. One of that name is `./~`.
#[must_use]
pub fn begins_at_home(written: &str) -> bool {
    written == "~" || written.starts_with("~/")
}

/// Why `folder` is no model folder, where more can be said than that its `config.json` is missing. `None`: no more can.
#[must_use]
pub fn for_a_folder(folder: &Path) -> Option<Error> {
    words(folder).map(|message| Error::malformed(folder, message))
}

/// The same without the folder's name.
#[must_use]
pub fn words(folder: &Path) -> Option<String> {
    if folder.join("config.json").exists() {
        return None;
    }
    if folder.components().any(|part| part == Component::Normal("~".as_ref())) && !folder.exists() {
        return Some(HOME.to_owned());
    }
    if !folder.exists() {
        return Some("there is no such folder".to_owned());
    }
    if folder.is_file() {
        return Some("is a file, expected a model folder: config.json, tokenizer.json and *.safetensors".to_owned());
    }
    let snapshots = names_in(&folder.join("snapshots"));
    if !snapshots.is_empty() {
        let found = listed(&snapshots, "snapshots/");
        return Some(format!("is a folder of the hub's cache, the model itself is one of: {found}"));
    }
    let inside = names_in(folder);
    let is_a_model = |name: &String| folder.join(name).join("config.json").exists();
    let models: Vec<String> = inside.iter().filter(|name| is_a_model(name)).cloned().collect();
    if !models.is_empty() {
        return Some(format!("is a folder of models, the model itself is one of: {}", listed(&models, "")));
    }
    let cached: Vec<String> = inside.iter().flat_map(|name| snapshots_of(folder, name)).collect();
    if !cached.is_empty() {
        return Some(format!("is a hub's cache, the model itself is one of: {}", listed(&cached, "")));
    }
    None
}

/// The snapshots of a model in a hub's cache, as paths inside of it. Empty: the folder is none of a hub's cache.
fn snapshots_of(cache: &Path, name: &str) -> Vec<String> {
    if !name.starts_with("models--") {
        return Vec::new();
    }
    let names = names_in(&cache.join(name).join("snapshots"));
    names.iter().map(|snapshot| format!("{name}/snapshots/{snapshot}")).collect()
}

/// The first of these names, each behind `before`.
fn listed(names: &[String], before: &str) -> String {
    let first: Vec<String> = names.iter().take(NAMED).map(|name| format!("{before}{name}")).collect();
    let more = if names.len() > NAMED { format!(", … ({} in all)", names.len()) } else { String::new() };
    first.join(", ") + &more
}

/// In alphabetical order.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
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
        assert_eq!(words(Path::new("~/models/small")), format!("FOLDER: {HOME}"));
        let file = place.path().join("model.gguf");
        fs::write(&file, "GGUF").unwrap();
        assert!(words(&file).starts_with("FOLDER: is a file, expected a model folder"));
        let model = place.path().join("models--org--name");
        for name in ["b1", "a2"] {
            fs::create_dir_all(model.join("snapshots").join(name)).unwrap();
        }
        assert!(for_a_folder(&model.join("snapshots/a2")).is_none());
        assert_eq!(
            words(&model),
            "FOLDER: is a folder of the hub's cache, the model itself is one of: snapshots/a2, snapshots/b1"
        );
        assert_eq!(
            words(place.path()),
            "FOLDER: is a hub's cache, the model itself is one of: models--org--name/snapshots/a2, \
             models--org--name/snapshots/b1"
        );
        fs::write(model.join("snapshots/a2/config.json"), "{}").unwrap();
        let below = "FOLDER: is a folder of models, the model itself is one of: a2";
        assert_eq!(words(&model.join("snapshots")), below);
    }

    #[test]
    fn few_of_many_are_named() {
        let names: Vec<String> = (1..=9).map(|n| format!("m{n}")).collect();
        assert_eq!(listed(&names, "x/"), "x/m1, x/m2, x/m3, x/m4, x/m5, x/m6, … (9 in all)");
    }

    #[test]
    fn only_a_shell_knows_the_home_folder() {
        for written in ["~", "~/models", "~/"] {
            assert!(begins_at_home(written), "{written}");
        }
        for written in ["./~/models", "models~/a", "~models", ""] {
            assert!(!begins_at_home(written), "{written}");
        }
    }
}
