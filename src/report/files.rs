//! A report as files: pages and charts in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::store::{StoreError, io_error, write_atomically};

use super::document::Document;
use super::html::to_html;
use super::markdown::to_markdown;

/// The report as Markdown.
pub const MARKDOWN: &str = "report.md";
/// The report as a page.
pub const PAGE: &str = "report.html";
/// The folder of its charts.
pub const PLOTS: &str = "plots";

/// The report's files with their paths inside the folder, charts first.
#[must_use]
pub fn contents(document: &Document) -> Vec<(String, Vec<u8>)> {
    let charts = document.figures().map(|figure| (figure.path(), figure.svg.standalone().into_bytes()));
    let pages = [(MARKDOWN, to_markdown(document)), (PAGE, to_html(document))];
    charts.chain(pages.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes()))).collect()
}

/// Writes the report's files; returns their paths inside the folder.
///
/// Charts come first, so that a page never points to one that is not there. Charts of an earlier report that this
/// one does not have are removed.
///
/// # Errors
/// What the system says, with the path.
pub fn write(document: &Document, folder: &Path) -> Result<Vec<String>, StoreError> {
    let plots = folder.join(PLOTS);
    fs::create_dir_all(&plots).map_err(io_error(&plots, "create"))?;
    let files = contents(document);
    for (name, bytes) in &files {
        write_atomically(&folder.join(name), bytes)?;
    }
    for stale in stray_charts(folder, &files)? {
        fs::remove_file(&stale).map_err(io_error(&stale, "remove"))?;
    }
    Ok(files.into_iter().map(|(name, _)| name).collect())
}

/// Charts in a folder that are none of these files.
///
/// # Errors
/// The folder of charts cannot be read.
pub fn stray_charts(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<Vec<PathBuf>, StoreError> {
    let plots = folder.join(PLOTS);
    let entries = fs::read_dir(&plots).map_err(io_error(&plots, "read"))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let charts = paths.filter(|path| path.extension().is_some_and(|extension| extension == "svg"));
    Ok(charts.filter(|path| !files.iter().any(|(name, _)| path.ends_with(name))).collect())
}
