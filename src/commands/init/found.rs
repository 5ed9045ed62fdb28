//! What is here to be measured: engines, model folders, GGUF files, a server's models.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::CancelToken;
use crate::backend::http::Client;
use crate::backend::ollama::manage::Server;
use crate::backend::onnx::library;
use crate::backend::worker::torch;
use crate::clock::RealClock;
use crate::model::{self, Form};

/// How deep below the path models are looked for.
const DEPTH: u32 = 4;
/// Most models of a kind that are named; more would be no scenario.
const MOST: usize = 12;

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Why ONNX Runtime cannot be used. `None`: it can.
    pub no_onnx: Option<String>,
    /// Why the torch worker cannot be started. `None`: it can.
    pub no_torch: Option<String>,
    /// The server, or why there is none.
    pub ollama: Option<Result<Vec<String>, String>>,
    /// Model folders that can be measured, with their parameters.
    pub folders: Vec<(PathBuf, u64)>,
    /// How many more there are, all of them larger.
    pub more_folders: usize,
    /// Model folders that cannot, with the reason.
    pub refused: Vec<(PathBuf, String)>,
    /// GGUF files.
    pub ggufs: Vec<PathBuf>,
}

impl Found {
    /// Looks at this machine, and for models below `path`.
    pub fn look(path: &Path, url: &str, cache: &Path) -> Self {
        let mut found = Self {
            no_onnx: library::locate(cache).err().map(|error| error.to_string()),
            no_torch: torch::find(cache).err().map(|error| error.to_string()),
            ollama: Some(served(url)),
            ..Self::default()
        };
        found.below(path, DEPTH);
        found.folders.sort_by_key(|(_, params)| *params);
        found.more_folders = found.folders.len().saturating_sub(MOST);
        found.folders.truncate(MOST);
        found.ggufs.sort();
        found.ggufs.truncate(MOST);
        found
    }

    /// Links are not followed, hidden folders not entered, what cannot be read is passed over.
    fn below(&mut self, path: &Path, depth: u32) {
        if path.join("config.json").is_file() && holds(path, "safetensors") {
            match model::architecture(&Form::Folder(path.to_owned())) {
                Ok(architecture) => self.folders.push((path.to_owned(), architecture.parameters())),
                Err(error) => self.refused.push((path.to_owned(), error.to_string())),
            }
        }
        let mut entries: Vec<_> = path.read_dir().into_iter().flatten().flatten().collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && !hidden && depth > 0 {
                self.below(&entry.path(), depth - 1);
            } else if kind.is_file() && entry.path().extension().is_some_and(|extension| extension == "gguf") {
                self.ggufs.push(entry.path());
            }
        }
    }
}

fn holds(folder: &Path, extension: &str) -> bool {
    let mut entries = folder.read_dir().into_iter().flatten().flatten();
    entries.any(|entry| entry.path().extension().is_some_and(|found| found == extension))
}

/// The models of a server.
fn served(url: &str) -> Result<Vec<String>, String> {
    let client = Client::new("ollama", url, Arc::new(RealClock::default()))?;
    let names = Server::new(Arc::new(client)).names(&CancelToken::default()).map_err(|error| error.to_string())?;
    Ok(names.into_iter().take(MOST).collect())
}
