//! Tables as files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::{StoreError, write_inside};

use super::Tables;

mod columns;

pub use columns::columns;

/// The folder inside a run for all tables but `metrics.csv`.
pub const FOLDER: &str = "analysis";

/// The file that says what comes from a script, where anything does: its name stands before those of tables.
pub const SIMULATED: &str = "SIMULATED.txt";

/// Why tables cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file or the folder could not be written.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A row does not fit its table.
    #[error("{table}: {source}")]
    Csv {
        /// The file inside the run folder.
        table: String,
        /// What the CSV writer says.
        source: csv::Error,
    },
    /// A row cannot be written as JSON.
    #[error("{table}: {source}")]
    Json {
        /// The file inside the run folder.
        table: String,
        /// What the JSON writer says.
        source: serde_json::Error,
    },
    /// A table was left unfinished by the writer.
    #[error("{table}: {source}")]
    Flush {
        /// The file inside the run folder.
        table: String,
        /// The system's error.
        source: std::io::Error,
    },
}

/// The bytes of every file that [`write()`] writes, by path inside the run folder.
///
/// A table without rows has its header only.
///
/// # Errors
/// [`WriteError::Csv`] for a row that CSV cannot hold.
pub fn files(tables: &Tables) -> Result<BTreeMap<PathBuf, Vec<u8>>, WriteError> {
    let mut files = Files::default();
    files.add("metrics.csv", &tables.metrics)?;
    let table = |name: &str| format!("{FOLDER}/{name}.csv");
    files.add(&table("summary_by_model_backend_mode"), &tables.summary)?;
    files.add(&table("summary_by_model_backend_mode_agg"), &tables.aggregate)?;
    files.add(&table("scaling_fits"), &tables.scaling_fits)?;
    files.add(&table("scaling_residuals"), &tables.scaling_residuals)?;
    files.add(&table("scaling_fits_length_limited"), &tables.scaling_fits_length_limited)?;
    files.add(&table("multivariate_fits"), &tables.multivariate_fits)?;
    files.add(&table("overhead_compute_fits"), &tables.overhead_compute_fits)?;
    files.add(&table("architecture_correlations"), &tables.architecture_correlations)?;
    files.add(&table("model_architecture"), &tables.model_architecture)?;
    files.add(&table("warmup_effect"), &tables.warmup_effect)?;
    files.add(&table("warmup_summary"), &tables.warmup_summary)?;
    files.add(&table("load_breakdown"), &tables.load_breakdown)?;
    files.add(&table("load_parts"), &tables.load_parts)?;
    files.add(&table("decode_fraction"), &tables.decode_fraction)?;
    files.add(&table("decode_fraction_summary"), &tables.decode_fraction_summary)?;
    files.add(&table("batch_shift"), &tables.batch_shift)?;
    files.add(&table("decode_length_shift"), &tables.decode_length_shift)?;
    files.add(&table("early_stop_summary"), &tables.early_stop_summary)?;
    files.add(&table("decode_linearity"), &tables.decode_linearity)?;
    files.add(&table("decode_projection_error"), &tables.decode_projection_error)?;
    files.add(&table("compile_steps"), &tables.compile_steps)?;
    files.add(&table("compile_audit"), &tables.compile_audit)?;
    files.add(&table("compile_graphs"), &tables.compile_graphs)?;
    files.add(&table("compile_outcome"), &tables.compile_outcome)?;
    files.add(&table("cuda_event_gap_summary"), &tables.cuda_event_gap_summary)?;
    files.add(&table("energy_events"), &tables.energy_events)?;
    files.add(&table("energy_summary"), &tables.energy_summary)?;
    if !tables.energy_events.is_empty() {
        files.add(&table("energy_soak"), &tables.energy_soak)?;
        files.json("events.jsonl", &tables.energy_events, false)?;
        files.json("baseline.json", &tables.baselines, true)?;
        files.json("calibration.json", &tables.calibrations, true)?;
    }
    files.add(&table("degraded"), &tables.degraded)?;
    files.add(&table("skipped"), &tables.skipped)?;
    files.add(&table("decisions"), &tables.decisions)?;
    if let Some(text) = &tables.simulated {
        files.0.insert(PathBuf::from(FOLDER).join(SIMULATED), text.clone().into_bytes());
    }
    Ok(files.0)
}

/// Writes every table into a run folder: `metrics.csv` beside the record, the others below [`FOLDER`].
///
/// Each file is replaced whole. Returns their paths inside the run folder.
///
/// # Errors
/// What the system says, with the path.
pub fn write(tables: &Tables, run: &Path) -> Result<Vec<PathBuf>, WriteError> {
    let files = files(tables)?;
    crate::files::sweep_below(run);
    for (path, bytes) in &files {
        write_inside(run, path, bytes)?;
    }
    Ok(files.into_keys().collect())
}

#[derive(Default)]
struct Files(BTreeMap<PathBuf, Vec<u8>>);

impl Files {
    /// Rows as JSON: one array, or one object per line.
    fn json<R: Serialize>(&mut self, path: &str, rows: &[R], whole: bool) -> Result<(), WriteError> {
        let failed = |source| WriteError::Json { table: path.to_owned(), source };
        let mut bytes = Vec::new();
        if whole {
            serde_json::to_writer_pretty(&mut bytes, rows).map_err(failed)?;
            bytes.push(b'\n');
        } else {
            for row in rows {
                serde_json::to_writer(&mut bytes, row).map_err(failed)?;
                bytes.push(b'\n');
            }
        }
        self.0.insert(PathBuf::from(path), bytes);
        Ok(())
    }

    fn add<R: Serialize + DeserializeOwned>(&mut self, path: &str, rows: &[R]) -> Result<(), WriteError> {
        // The header is written apart from the rows, so that a table without any has one.
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        let failed = |source| WriteError::Csv { table: path.to_owned(), source };
        writer.write_record(columns::<R>()).map_err(failed)?;
        for row in rows {
            writer.serialize(row).map_err(failed)?;
        }
        let unfinished =
            |error: csv::IntoInnerError<_>| WriteError::Flush { table: path.to_owned(), source: error.into_error() };
        self.0.insert(PathBuf::from(path), writer.into_inner().map_err(unfinished)?);
        Ok(())
    }
}
