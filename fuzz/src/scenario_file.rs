//! A scenario file; the same bytes as a price list, a workload, a list of claims and a table of figures.

use std::hint::black_box;
use std::path::Path;

use phasebench::model::{self, Form};
use phasebench::plan::{self, ModelFacts, Only};
use phasebench::scenario::{self, CsvTable, ScenarioFile, claims, pricing, workload};
use phasebench::schedule;
use phasebench::units::Bytes;

use super::scratch;

/// Memory for sessions, whatever machine this is.
const BUDGET: Bytes = Bytes(8 << 30);

/// A plan of more calls takes its time by right.
const MOST_CALLS: u64 = 500;

/// More columns nobody asks for at once.
const MOST_COLUMNS: usize = 20;

pub fn read(data: &[u8]) {
    let (path, base) = (Path::new("strange.yaml"), Path::new("nowhere"));
    if let Ok(text) = std::str::from_utf8(data) {
        match scenario::parse(text, path, base) {
            Ok(file) => planned(&file),
            Err(error) => drop(error.to_string()),
        }
        drop(pricing::parse(text, path).map_err(|error| error.to_string()));
        drop(workload::parse(text, path, base).map_err(|error| error.to_string()));
        drop(claims::parse(text, path).map_err(|error| error.to_string()));
    }
    scratch::folder(|folder| {
        let path = folder.join("table.csv");
        scratch::write(&path, data);
        drop(tabled(&path).map_err(|error| error.to_string()));
    });
}

/// What `plan` does with a file that is good.
fn planned(file: &ScenarioFile) {
    let facts: Vec<ModelFacts> = file.models.iter().filter_map(|model| facts(&model.name, &model.form)).collect();
    let Ok(everything) = Only::parse(&[] as &[&str], file) else { return };
    let Ok(plan) = plan::expand(file, &facts, BUDGET, &everything) else { return };
    drop(plan::plan_sha256(&plan));
    let calls = plan.cells.len() as u64 * u64::from(plan.division().most_calls());
    if calls <= MOST_CALLS {
        let work = schedule::work(&plan);
        black_box(plan::time_range(&plan, file, &facts, &work));
        drop(schedule::preview(&plan));
    }
}

/// `None`: the model's folder is somewhere on this machine, or cannot be.
fn facts(name: &str, form: &Form) -> Option<ModelFacts> {
    match form {
        Form::Served(_) => Some(ModelFacts::unknown(name)),
        Form::Synthetic(_) => Some(ModelFacts::new(name, &model::architecture(form).ok()?)),
        Form::Folder(_) => None,
    }
}

/// Reads columns as numbers, as `fit` and `cost` do with those they are told.
fn tabled(path: &Path) -> Result<f64, scenario::CsvError> {
    let table = CsvTable::read(path)?;
    let names: Vec<String> = table.columns().take(MOST_COLUMNS).map(str::to_owned).collect();
    let columns = names.iter().map(|name| table.find(name)).collect::<Result<Vec<_>, _>>()?;
    let mut sum = 0.0;
    table.rows(|record| {
        for &column in &columns {
            sum += table.number(record, column)?.unwrap_or(0.0);
        }
        Ok::<(), scenario::CsvError>(())
    })?;
    Ok(sum)
}
