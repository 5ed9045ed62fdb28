//! Where sessions and their calls ran, each with its proof.

use crate::record::plan::SessionKey;
use crate::report::document::{Block, Table, Text};
use crate::report::format::ABSENT;
use crate::report::sections::{ReportedRun, evidence};
use crate::terms::{Attribution, Evidence};

/// One place where a session ran.
struct Placed<'a> {
    session: &'a SessionKey,
    asked_for: &'a str,
    /// `None`: nothing proves it.
    ran_on: Option<&'a str>,
    /// Of each load, or call.
    evidence: Vec<&'a Evidence>,
}

impl Placed<'_> {
    fn ran_on(&self) -> &str {
        self.ran_on.unwrap_or("not proven")
    }

    fn proof(&self) -> String {
        let proof = evidence::in_one_line(self.evidence.iter().copied());
        if proof.is_empty() { ABSENT.to_owned() } else { proof }
    }
}

/// Where each session was loaded.
pub(super) fn loads(run: &ReportedRun<'_>) -> Block {
    let placed = places(run.recording.loads().map(|load| (&load.session, &load.attribution)));
    Table::of(&placed)
        .words("model", |place| place.session.model.as_str())
        .words("backend", |place| place.session.backend.as_str())
        .words("asked for", |place| place.asked_for)
        .words("ran on", Placed::ran_on)
        .words("proof", Placed::proof)
        .captioned("Where each session ran: what was asked for, what the engine placed, and the proof.".into())
        .into()
}

/// Where its calls ran. `None`: none was made.
pub(super) fn calls(run: &ReportedRun<'_>) -> Option<Block> {
    let placed = places(run.recording.calls().map(|call| (&*call.session, &*call.attribution)));
    let caption = Text::plain(
        "Where the calls ran, of every role and outcome, and what proves it call by call: the least and the most where it \
         is a number, how many there are where it is a word. From ",
    )
    .code("measurements.jsonl")
    .and(".");
    let table = Table::of(&placed)
        .words("model", |place| place.session.model.as_str())
        .words("backend", |place| place.session.backend.as_str())
        .words("asked for", |place| place.asked_for)
        .words("ran on", Placed::ran_on)
        .number("calls", "", |place| place.evidence.len().to_string())
        .words("proof", Placed::proof)
        .captioned(caption);
    (!placed.is_empty()).then(|| table.into())
}

/// Loads or calls by session, what was asked for and where they ran, in the record's order.
fn places<'a>(ran: impl Iterator<Item = (&'a SessionKey, &'a Attribution)>) -> Vec<Placed<'a>> {
    let mut found: Vec<Placed<'a>> = Vec::new();
    let mut last = 0;
    for (session, attribution) in ran {
        let asked_for = attribution.requested.as_str();
        // A claim without evidence is none.
        let ran_on = attribution.actual.as_deref().filter(|_| attribution.is_proven());
        let same =
            |place: &Placed<'_>| place.session == session && place.asked_for == asked_for && place.ran_on == ran_on;
        // Most calls follow one of the same session.
        let known = if found.get(last).is_some_and(same) { Some(last) } else { found.iter().position(same) };
        last = known.unwrap_or(found.len());
        match known {
            Some(place) => found[place].evidence.push(&attribution.evidence),
            None => found.push(Placed { session, asked_for, ran_on, evidence: vec![&attribution.evidence] }),
        }
    }
    found
}
