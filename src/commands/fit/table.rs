//! The columns of a CSV file that a fit needs.

use crate::cli::FitArgs;
use crate::scenario::{CsvError, CsvTable};

/// The rows of a table that have every value asked for.
#[derive(Debug)]
pub(super) struct Table {
    /// In order of their first row; one without a name where no column groups.
    pub(super) groups: Vec<Group>,
    /// Rows with an empty cell in a column that is needed.
    pub(super) left_out: usize,
}

/// Rows that are fitted together.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The value they share. `None`: no column groups.
    pub(super) name: Option<String>,
    pub(super) x: Vec<f64>,
    pub(super) y: Vec<f64>,
    pub(super) x2: Option<Vec<f64>>,
    /// Line of the file of each row, from 1.
    pub(super) lines: Vec<u64>,
}

impl Table {
    /// Reads the columns that `args` names.
    ///
    /// # Errors
    /// The first thing in the file that cannot be used.
    pub(super) fn read(args: &FitArgs) -> Result<Self, CsvError> {
        let file = CsvTable::read(&args.table)?;
        let (x, y) = (file.find(&args.x)?, file.find(&args.y)?);
        let x2 = args.x2.as_deref().map(|name| file.find(name)).transpose()?;
        let by = args.group.as_deref().map(|name| file.find(name)).transpose()?;

        let mut table = Self { groups: Vec::new(), left_out: 0 };
        if by.is_none() {
            table.groups.push(Group::new(None, x2.is_some()));
        }
        file.rows(|record| {
            let (x, y) = (file.number(record, x)?, file.number(record, y)?);
            let second = x2.map(|column| file.number(record, column)).transpose()?;
            let (Some(x), Some(y), None | Some(Some(_))) = (x, y, second) else {
                table.left_out += 1;
                return Ok::<(), CsvError>(());
            };
            let name = by.map(|column| record.get(column).unwrap_or_default().to_owned());
            let group = table.group(name, x2.is_some());
            group.push(x, y, second.flatten());
            group.lines.push(record.position().map_or(0, |at| file.line(at)));
            Ok(())
        })?;
        Ok(table)
    }

    fn group(&mut self, name: Option<String>, two: bool) -> &mut Group {
        let place = self.groups.iter().position(|group| group.name == name).unwrap_or_else(|| {
            self.groups.push(Group::new(name, two));
            self.groups.len() - 1
        });
        &mut self.groups[place]
    }
}

impl Group {
    fn new(name: Option<String>, two: bool) -> Self {
        Self { name, x2: two.then(Vec::new), ..Self::default() }
    }

    fn push(&mut self, x: f64, y: f64, x2: Option<f64>) {
        self.x.push(x);
        self.y.push(y);
        if let (Some(column), Some(value)) = (&mut self.x2, x2) {
            column.push(value);
        }
    }
}
