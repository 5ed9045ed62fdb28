//! A report as files: pages and charts in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::store::{StoreError, io_error, refuse_link, write_all_inside};

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
/// Charts come first, so that a page never points to one that is not there. Charts that an earlier report here shows and
/// this one does not have are removed; what else lies beside them stays.
///
/// # Errors
/// A link where a file or a folder is to be; what the system says, with the path.
pub fn write(document: &Document, folder: &Path) -> Result<Vec<String>, StoreError> {
    refuse_link(folder, Path::new(PLOTS))?;
    let plots = folder.join(PLOTS);
    fs::create_dir_all(&plots).map_err(io_error(&plots, "create"))?;
    let shown_before = fs::read_to_string(folder.join(MARKDOWN)).map_or_else(|_| Vec::new(), |text| charts_of(&text));
    let files = contents(document);
    write_all_inside(folder, &files)?;
    let stray = stray_charts(folder, &files)?;
    for stale in stray.iter().filter(|path| shown_before.iter().any(|name| path.ends_with(name))) {
        fs::remove_file(stale).map_err(io_error(stale, "remove"))?;
    }
    Ok(files.into_iter().map(|(name, _)| name).collect())
}

/// The charts that a report's Markdown shows, by path inside its folder. What is not directly in the folder of charts is
/// none of a report's.
fn charts_of(markdown: &str) -> Vec<String> {
    let targets = markdown.split("![").skip(1).filter_map(|image| {
        let target = image.split_once("](")?.1;
        Some(&target[..target.find([')', ' ', '\n'])?])
    });
    let own = |target: &&str| target.strip_prefix(PLOTS).and_then(|rest| rest.strip_prefix('/')).is_some_and(is_chart);
    targets.filter(own).map(str::to_owned).collect()
}

fn is_chart(name: &str) -> bool {
    !name.contains('/') && name.ends_with(".svg")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_charts_directly_in_their_folder_are_a_report_s() {
        let text =
            "![a](plots/a.svg) ![b](plots/../b.svg \"t\") ![c](/etc/c.svg)\n![d](plots/d.txt) ![e](plots/e.svg \"t\")";
        assert_eq!(charts_of(text), ["plots/a.svg", "plots/e.svg"]);
    }
}
