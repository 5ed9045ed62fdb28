//! genai-perf's `profile_export.json`: `experiments[].requests[]` with the times of a request and of each of its responses, in
//! nanoseconds.
//!
//! Responses are chunks of a stream, so without tokens counted there is no time per token. An experiment is one load of the server:
//! a cell of its own. Written from the tool's source, the profile data exporter of perf_analyzer: no file of a real server was at
//! hand.

use std::collections::BTreeMap;

use crate::terms::{Degraded, Mode};
use crate::units::Nanos;

use super::error::ImportError;
use super::json::{self, Place};
use super::request::{self, Streamed, boundary, concurrency_note, failed};
use super::sheet::{Sample, Sheet, ToldEngine, ToldModel};
use super::source::Source;

/// One sheet: a file is one session.
pub(super) fn sheets(source: &Source) -> Result<Vec<Sheet>, ImportError> {
    let whole = json::whole(source)?;
    let file = Place::new(source, &whole, "");
    let mut sheet = Sheet { version: file.text_of("version")?.map(str::to_owned), ..Sheet::default() };
    for experiment in file.need("experiments")?.items()? {
        let load = experiment.need("experiment")?;
        let (mode, value) = (load.need("mode")?.text()?, load.need("value")?.number()?);
        let at_once = if mode == "concurrency" { Some(load.need("value")?.count()?) } else { None };
        let requests = experiment.need("requests")?.items()?;
        if requests.is_empty() {
            return Err(experiment.error("holds no request", "a request or more"));
        }
        let samples = requests.iter().map(sample).collect::<Result<Vec<_>, _>>()?;
        let name = if mode == "concurrency" { format!("{value} at once") } else { format!("{mode} {value}") };
        let mut settings = BTreeMap::from([("device".to_owned(), "not told".to_owned())]);
        for key in ["service_kind", "endpoint"] {
            settings.extend(file.text_of(key)?.map(|value| (key.to_owned(), value.to_owned())));
        }
        let engine = ToldEngine {
            name: "genai-perf".to_owned(),
            title: "server, by genai-perf".to_owned(),
            settings,
            boundary: boundary(),
        };
        sheet.notes.extend(concurrency_note(at_once).map(|note| format!("{name}: {note}")));
        sheet.series.push(request::series(experiment.at(), engine, ToldModel::named("not told"), &name, samples));
    }
    sheet.notes.push("neither the model nor token counts are in the file".to_owned());
    Ok(vec![sheet])
}

fn sample(request: &Place<'_>) -> Result<Sample, ImportError> {
    let begin = request.need("timestamp")?.number()?;
    let responses = request.need("response_timestamps")?;
    let times = responses.items()?.iter().map(Place::number).collect::<Result<Vec<_>, _>>()?;
    let place = request.at().to_owned();
    let (Some(&first), Some(&last)) = (times.first(), times.last()) else {
        return Ok(failed(place, Degraded::Incomplete, "no response"));
    };
    if first <= begin || times.windows(2).any(|pair| pair[1] < pair[0]) {
        return Err(responses.error("do not follow `timestamp` and each other", "times in order, in nanoseconds"));
    }
    if times.len() == 1 {
        let outcome = Ok(vec![(Mode::Whole, Nanos((last - begin) as u64))]);
        return Ok(Sample { place, outcome, begin: None, prompt: None, new: None, steps: None });
    }
    let after = Some(Nanos((last - first) as u64)).filter(|after| after.0 > 0);
    let first = Nanos((first - begin) as u64);
    Ok(Streamed { first, after, prompt: None, new: None, begin: None }.sample(place))
}
