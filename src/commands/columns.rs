//! Rows on a terminal, their cells under each other.

use comfy_table::presets;

use crate::report::document::Table;

/// Between two columns.
const GAP: (u16, u16) = (0, 2);

/// One line per row, columns as wide as their widest cell, without blanks at the end.
pub(super) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let mut table = comfy_table::Table::new();
    table.load_style(presets::NOTHING).add_rows(rows);
    table.column_iter_mut().for_each(|column| {
        column.set_padding(GAP);
    });
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// A report's table, its titles first. Cells are cleaned for a terminal.
pub(super) fn aligned_table(table: &Table) -> Vec<String> {
    let titles = table.headings.iter().map(|heading| heading.title.clone()).collect();
    let rows = table.rows.iter().map(|row| row.iter().map(ToString::to_string).collect());
    aligned(&[titles].into_iter().chain(rows).collect::<Vec<Vec<String>>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sign that takes two places takes two; a row may be short, a cell empty.
    #[test]
    fn cells_stand_under_each_other() {
        let rows = [vec!["model", "n", "verdict"], vec!["模型", "12", ""], vec!["a", "", "good"], vec!["only"]];
        let rows = rows.map(|row| row.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(aligned(&rows), ["model  n   verdict", "模型   12", "a          good", "only"]);
        assert!(aligned(&[]).is_empty());
    }
}
