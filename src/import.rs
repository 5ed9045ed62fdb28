//! Other tools' result files as run folders.
//!
//! Each tool has a file below, which makes `sheet::Sheet`s of its files: samples, figures that are stated without samples, and
//! what the figures include. `assemble` makes one run of them, with the record's own lines for calls that were not made here.
//! Nothing is written before every file was read whole.
//!
//! An imported row is never taken for a call of ours: it proves to nobody where it ran, so that no fit, aggregate or ranking has
//! it, and it is compared only with imported rows.

mod aiperf;
mod assemble;
mod error;
mod format;
mod genai_perf;
mod go_bench;
mod guidellm;
mod json;
mod llama_bench;
mod ollama_bench;
mod plain_csv;
mod request;
mod sglang;
mod sheet;
mod source;
mod table;
mod vllm;

use std::path::{Path, PathBuf};

use crate::files::UnfinishedFolder;
use crate::store::{StoreError, Writer, io_error};

pub use assemble::ImportedRun;
pub use error::ImportError;
pub use format::Format;
use source::Source;

/// Reads files, each a session of the same cells. `format: None` takes that of the first file from its content.
///
/// # Errors
/// What is wrong with a file, and where; files that cannot be of one run. Nothing is taken from any of them then.
pub fn read(files: &[PathBuf], format: Option<Format>) -> Result<ImportedRun, ImportError> {
    let sources = files.iter().map(|path| Source::read(path)).collect::<Result<Vec<_>, _>>()?;
    for (place, source) in sources.iter().enumerate() {
        if let Some(same) = sources[..place].iter().find(|other| other.sha256 == source.sha256) {
            let what = format!("is byte for byte {}", same.name);
            return Err(source.error("", what, "every file once: each is a session of its own"));
        }
    }
    let Some(first) = sources.first() else {
        return Err(ImportError::new("import", "", "no file is given", "one file or more"));
    };
    let format = match format {
        Some(format) => format,
        None => Format::of(first)?,
    };
    let sheets = sources.iter().map(|source| format.sheets(source)).collect::<Result<Vec<_>, _>>()?;
    let run = assemble::run(format, &sources, sheets)?;
    match run.plan.impossible() {
        Some(why) => Err(first.error("", why, "what can have been measured")),
        None => Ok(run),
    }
}

/// Writes the run: all of it, or nothing.
///
/// # Errors
/// The folder is there already and not empty, or what the system says.
pub fn write(run: &ImportedRun, folder: &Path) -> Result<(), StoreError> {
    let exists = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file();
    if exists {
        let path = folder.display().to_string();
        return Err(StoreError::Content {
            path,
            why: "exists already and is not empty\n  try: another --out".to_owned(),
        });
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(io_error(parent, "create"))?;
    let unfinished = UnfinishedFolder::new_in(parent).map_err(io_error(parent, "write"))?;
    let inside = unfinished.path().join("run");
    let manifest = run.manifest.to_json().map_err(|error| StoreError::Content {
        path: folder.display().to_string(),
        why: format!("the manifest cannot be written as JSON: {error}"),
    })?;
    let mut writer = Writer::create(&inside, &run.spec, &run.plan_json, &manifest)?;
    writer.append_all(&run.lines)?;
    writer.close()?;
    drop(writer);
    std::fs::rename(&inside, folder).map_err(io_error(folder, "write"))
}
