//! What the sheets of all files have in them: cells, engines, models, sessions, calls.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::hash::sha256_hex;
use crate::import::error::ImportError;
use crate::import::sheet::{Sample, Series, Sheet, Stated, ToldEngine, ToldModel};
use crate::import::source::Source;
use crate::record::plan::{Cell, CellId, SessionKey};
use crate::record::{ImportedCall, ImportedTime, StatedFigure};
use crate::terms::{Dtype, Status};

/// What engines are called: by their settings only where these differ within the run, and then by what differs.
pub(super) struct EngineNames {
    differing: BTreeMap<String, BTreeSet<String>>,
}

impl EngineNames {
    pub(super) fn of(sheets: &[Vec<Sheet>]) -> Self {
        let mut seen: BTreeMap<String, BTreeMap<String, BTreeSet<Option<String>>>> = BTreeMap::new();
        let engines: Vec<&ToldEngine> =
            sheets.iter().flatten().flat_map(|sheet| &sheet.series).map(|s| &s.engine).collect();
        for engine in &engines {
            let of_name = engines.iter().filter(|other| other.name == engine.name);
            for key in of_name.flat_map(|other| other.settings.keys()).collect::<BTreeSet<_>>() {
                let values = seen.entry(engine.name.clone()).or_default().entry(key.clone()).or_default();
                values.insert(engine.settings.get(key).cloned());
            }
        }
        let differing = seen.into_iter().map(|(name, keys)| {
            (name, keys.into_iter().filter(|(_, values)| values.len() > 1).map(|(key, _)| key).collect())
        });
        Self { differing: differing.collect() }
    }

    fn name(&self, engine: &ToldEngine) -> String {
        let differing = self.differing.get(&engine.name).into_iter().flatten();
        let told = differing.filter_map(|key| Some(format!(" {key}={}", engine.settings.get(key)?)));
        format!("{}{}", engine.name, told.collect::<String>())
    }
}

/// What was taken of the files so far.
#[derive(Default)]
pub(super) struct Assembled {
    pub(super) cells: Vec<Cell>,
    pub(super) engines: BTreeMap<String, ToldEngine>,
    pub(super) models: BTreeMap<String, ToldModel>,
    /// Sessions of a cell so far.
    pub(super) sessions: BTreeMap<CellId, u32>,
    pub(super) calls: Vec<ImportedCall>,
    /// Calls of a cell so far.
    pub(super) counts: BTreeMap<CellId, u32>,
    pub(super) stated: Vec<StatedFigure>,
}

impl Assembled {
    pub(super) fn take(
        &mut self,
        file: u32,
        source: &Source,
        sheet: &Sheet,
        names: &EngineNames,
    ) -> Result<(), ImportError> {
        let mut here: BTreeMap<CellId, &str> = BTreeMap::new();
        for series in &sheet.series {
            let cell = cell(series, names.name(&series.engine));
            if let Some(other) = here.insert(cell.id.clone(), &series.place) {
                let what = format!("{} of {} is there already, at {other}", series.scenario, series.model.name);
                return Err(source.error(
                    series.place.clone(),
                    what,
                    "every test once in a file: a repetition is a file of its own",
                ));
            }
            self.model(source, series)?;
            self.engine(&cell, series);
            let session = *self.sessions.entry(cell.id.clone()).and_modify(|n| *n += 1).or_insert(0);
            for sample in &series.samples {
                let index = self.counts.entry(cell.id.clone()).or_insert(0);
                self.calls.push(call(&cell.id, *index, session, file, sample));
                *index += 1;
            }
            self.stated.extend(series.stated.iter().map(|stated| figure(&cell.id, session, file, stated)));
            if !self.cells.iter().any(|known| known.id == cell.id) {
                self.cells.push(cell);
            }
        }
        Ok(())
    }

    /// A name must stand for one model.
    fn model(&mut self, source: &Source, series: &Series) -> Result<(), ImportError> {
        let model = &series.model;
        let known = self.models.entry(model.name.clone()).or_insert_with(|| model.clone());
        if known != model {
            let what = format!(
                "model {} has {:?} parameters and {:?} bytes here, and {:?} and {:?} elsewhere",
                model.name, model.params, model.bytes, known.params, known.bytes
            );
            return Err(source.error(series.place.clone(), what, "one model of a name"));
        }
        Ok(())
    }

    fn engine(&mut self, cell: &Cell, series: &Series) {
        let engine = self.engines.entry(cell.session.backend.clone()).or_insert_with(|| series.engine.clone());
        engine.boundary.extend(series.engine.boundary.clone());
    }
}

fn cell(series: &Series, backend: String) -> Cell {
    let session = SessionKey { backend, model: series.model.name.clone() };
    let timed: Vec<&str> = series.engine.boundary.keys().map(|mode| mode.as_str()).collect();
    let key = json!({
        "backend": session.backend,
        "batch": series.batch,
        "gen_tokens": series.gen_tokens,
        "imported": true,
        "model": session.model,
        "procedure": series.procedure.as_str(),
        "prompt_tokens": series.prompt_tokens,
        "scenario": series.scenario,
        "timed": timed,
    });
    Cell {
        id: CellId(sha256_hex(key.to_string().as_bytes())[..12].to_owned()),
        session,
        dtype: Dtype::AsServed,
        scenario: series.scenario.clone(),
        batch: series.batch,
        prompt_tokens: series.prompt_tokens,
        gen_tokens: series.gen_tokens,
        procedure: series.procedure,
    }
}

fn call(cell: &CellId, index: u32, session: u32, file: u32, sample: &Sample) -> ImportedCall {
    let (status, detail, times) = match &sample.outcome {
        Ok(times) => (Status::Ok, None, times.as_slice()),
        Err((kind, why)) => (Status::Degraded(*kind), Some(why.clone()), &[][..]),
    };
    ImportedCall {
        call_id: format!("{cell}-imported-{index}"),
        cell_id: cell.clone(),
        index,
        session_index: session,
        file,
        place: sample.place.clone(),
        status,
        detail,
        times: times.iter().map(|&(mode, duration_ns)| ImportedTime { mode, duration_ns }).collect(),
        begin_ns: sample.begin,
        prompt_tokens: sample.prompt,
        new_tokens: sample.new,
        decode_steps: sample.steps,
    }
}

fn figure(cell: &CellId, session: u32, file: u32, stated: &Stated) -> StatedFigure {
    StatedFigure {
        cell_id: cell.clone(),
        session_index: session,
        file,
        place: stated.place.clone(),
        mode: stated.mode,
        statistic: stated.statistic,
        value_ms: stated.value_ms,
        sd_ms: stated.sd_ms,
        n: stated.n,
    }
}
