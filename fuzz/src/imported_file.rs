//! Another tool's result file, as whatever it looks like and as each of the formats; several files where the input is
//! several parts.

use std::fs;
use std::path::{Path, PathBuf};

use phasebench::import::{self, Format, ImportedRun};

use super::parts::Parts;
use super::{run_record, scratch};

pub fn read(data: &[u8]) {
    let parts = Parts::of(data, "first");
    scratch::folder(|folder| {
        let files: Vec<PathBuf> = (parts.contents().take(3).enumerate())
            .map(|(number, content)| {
                let path = folder.join(format!("result-{number}"));
                scratch::write(&path, content);
                path
            })
            .collect();
        for format in Format::names() {
            drop(import::read(&files, format.parse().ok()).map_err(|error| error.to_string()));
        }
        match import::read(&files, None) {
            Ok(run) => written(&run, &folder.join("run")),
            Err(error) => drop(error.to_string()),
        }
    });
}

/// The run that was made of them, as every command reads one.
fn written(run: &ImportedRun, folder: &Path) {
    if import::write(run, folder).is_ok() {
        run_record::everything(folder);
        drop(fs::remove_dir_all(folder));
    }
}
