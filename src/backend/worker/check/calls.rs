//! What a call's reply says, held against what was asked and against the clock.

use super::bench::{Answered, Bench, Refused};
use super::finding::Tried;
use crate::backend::worker::protocol::Procedure;
use crate::backend::worker::reply::attribution;
use crate::backend::worker::words::{phase, phases};
use crate::terms::{self, Attribution, Phase, device_of};
use crate::units::Nanos;

/// Decode steps of most calls.
const STEPS: u32 = 5;

/// Share of a long call, from its first phase on, that may lie outside its phases.
const OUTSIDE: f64 = 0.2;

/// A call is long where it takes so many messages.
const LONG: u64 = 20;

/// Long calls that are judged, of which the best counts: other programs may have been in the way.
const TRIES: u32 = 5;

/// Calls made to have them: beside a load a message takes longer, and few calls are long beside it.
const MOST_TRIES: u32 = 40;

/// Procedures that are offered and not refused, each with its new tokens per row.
async fn offered(bench: &Bench) -> Result<Vec<(Procedure, usize)>, String> {
    let refused = bench.refused().await?;
    let mut made = vec![
        (Procedure::Prefill, 1),
        (Procedure::PrefillDecode, STEPS as usize + 1),
        (Procedure::Uncached, STEPS as usize),
    ];
    made.retain(|(procedure, _)| bench.offers(*procedure) && !refused.iter().any(|(other, _)| other == procedure));
    if made.is_empty() && !refused.is_empty() {
        let words = in_words(refused);
        return Err(format!("nothing that is offered can be had as it is set: {}", words.join("; ")));
    }
    Ok(made)
}

/// What is refused, and why.
fn in_words(refused: &[Refused]) -> Vec<String> {
    refused.iter().map(|(procedure, why)| format!("{} is refused as it is set ({why})", name(*procedure))).collect()
}

fn name(procedure: Procedure) -> &'static str {
    procedure.as_str_name()
}

/// As many new tokens as asked for, each an id of the model's.
pub async fn tokens(bench: &Bench) -> Result<String, String> {
    let mut seen = Vec::new();
    for (procedure, made) in offered(bench).await? {
        let rows = [bench.prompt(8, 1), bench.prompt(8, 2)];
        let reply = bench.good(bench.request_of(procedure, &rows, STEPS)).await?.reply;
        if reply.tokens.len() != rows.len() {
            return Err(format!(
                "{}: tokens of {} rows, {} asked for",
                name(procedure),
                reply.tokens.len(),
                rows.len()
            ));
        }
        for row in &reply.tokens {
            if row.ids.len() != made {
                return Err(format!("{}: {} new tokens in a row, {made} expected", name(procedure), row.ids.len()));
            }
            if let Some(id) = row.ids.iter().find(|&&id| id >= bench.model.vocabulary) {
                let known = bench.model.vocabulary;
                return Err(format!("{}: a new token has the id {id}, and the model knows {known}", name(procedure)));
            }
        }
        seen.push(format!("{made} in {}", name(procedure)));
    }
    let mut words = vec![format!("{} a row, all ids of the model", seen.join(", "))];
    words.extend(in_words(bench.refused().await?));
    Ok(words.join("; "))
}

/// As many steps timed as asked for; their ends, where they are told, inside their phase and in order.
pub async fn steps(bench: &Bench) -> Result<String, String> {
    let can = bench.live.who.capabilities.step_times;
    for (procedure, _) in offered(bench).await? {
        let reply = bench.good(bench.request(procedure, STEPS, 1)).await?.reply;
        let asked = if procedure == Procedure::Prefill { 0 } else { STEPS };
        if reply.steps_timed != asked {
            return Err(format!("{}: {} steps timed, {asked} asked for", name(procedure), reply.steps_timed));
        }
        let ends = &reply.step_ends_ns;
        if can && ends.len() != asked as usize || !can && !ends.is_empty() {
            let says = format!("`capabilities.step_times` is {can}");
            return Err(format!("{}: ends of {} steps, {asked} timed, and {says}", name(procedure), ends.len()));
        }
        let within = |end: &u64| reply.spans.last().is_some_and(|span| (span.begin_ns..=span.end_ns).contains(end));
        if !ends.iter().all(within) || !ends.is_sorted() {
            return Err(format!("{}: the steps' ends are not in order inside their phase", name(procedure)));
        }
    }
    Ok(if can { "as many as asked, each with its end" } else { "as many as asked; their ends are not told" }.to_owned())
}

/// Prompt tokens without padding, row by row.
pub async fn prompt_tokens(bench: &Bench) -> Result<String, String> {
    for (procedure, _) in offered(bench).await? {
        let rows = [bench.prompt(8, 1), bench.prompt(5, 2)];
        let reply = bench.good(bench.request_of(procedure, &rows, STEPS)).await?.reply;
        if reply.prompt_tokens != [8, 5] {
            let told = &reply.prompt_tokens;
            return Err(format!("{}: prompts of 8 and 5 tokens, and {told:?} are told", name(procedure)));
        }
    }
    Ok("as many as were sent, padding left out".to_owned())
}

/// The same call gives the same tokens, whatever came between.
pub async fn repeatable(bench: &Bench) -> Result<String, String> {
    for (procedure, _) in offered(bench).await? {
        let first = bench.good(bench.request(procedure, STEPS, 1)).await?.reply.tokens;
        bench.good(bench.request_of(procedure, &[bench.prompt(8, 3), bench.prompt(8, 4)], STEPS + 2)).await?;
        let again = bench.good(bench.request(procedure, STEPS, 1)).await?.reply.tokens;
        if first != again {
            return Err(format!("{}: the same prompt gives other tokens after another call", name(procedure)));
        }
    }
    Ok("the same prompt, the same tokens, with another call between".to_owned())
}

/// A short row beside a longer one gives what it gives alone.
pub async fn padding(bench: &Bench) -> Result<String, String> {
    for (procedure, _) in offered(bench).await? {
        let rows = [bench.prompt(8, 1), bench.prompt(5, 2)];
        let together = bench.good(bench.request_of(procedure, &rows, STEPS)).await?.reply.tokens;
        for (row, ids) in rows.into_iter().enumerate() {
            let alone = bench.good(bench.request_of(procedure, &[ids], STEPS)).await?.reply.tokens;
            if alone.first() != together.get(row) {
                return Err(format!("{}: row {row} gives other tokens in a batch than alone", name(procedure)));
            }
        }
    }
    Ok("a row gives the same in a batch, padded on the left, as alone".to_owned())
}

/// What ran is claimed, and something proves it.
pub async fn evidence(bench: &Bench) -> Result<String, String> {
    let found = placed(bench).await?;
    let actual = found.actual.as_deref().ok_or("`actual` is absent: its rows would take part in no ranking")?;
    if !found.is_proven() {
        return Err(format!("`actual` is `{actual}`, and `evidence` is empty: a label proves nothing"));
    }
    let proof: Vec<String> = found.evidence.texts().iter().map(|(name, text)| format!("{name}: {text}")).collect();
    Ok(format!("{actual}; {}", proof.join(", ")))
}

/// What ran is the device that was asked for.
pub async fn device(bench: &Bench) -> Result<String, String> {
    let found = placed(bench).await?;
    if let Some(elsewhere) = found.elsewhere() {
        return Err(elsewhere);
    }
    if device_of(&bench.settings.device).is_some() && device_of(&found.requested).is_none() {
        let (requested, asked) = (&found.requested, &bench.settings.device);
        return Err(format!("`requested` is `{requested}` and names no device, {asked} was asked for"));
    }
    let held = Attribution { requested: bench.settings.device.clone(), ..found.clone() };
    match held.elsewhere() {
        Some(elsewhere) => Err(elsewhere),
        None => Ok(format!("{} was asked for", bench.settings.device)),
    }
}

async fn placed(bench: &Bench) -> Result<Attribution, String> {
    let reply = bench.good(bench.request(bench.procedure(), STEPS, 1)).await?.reply;
    Ok(reply.attribution.map(attribution).unwrap_or_default())
}

/// The phases of each procedure, in order, inside the call, and nothing but messages beside them.
pub async fn spans(bench: &Bench) -> Tried {
    match covered(bench).await {
        Ok(covered) if !covered.is_long() => Tried::Pass(format!(
            "in order and inside their calls; the longest call, {}, is too short beside a message to tell whether they cover \
             it",
            covered.call
        )),
        Ok(covered) if covered.outside > OUTSIDE => Tried::Fail(format!(
            "{:.0} % of a call of {}, from its first phase on, lies in no phase: they end before the work, or begin after it",
            100.0 * covered.outside,
            covered.call
        )),
        Ok(covered) => Tried::Pass(format!(
            "in order and inside their calls; {:.1} % of a call of {} lies outside them",
            100.0 * covered.outside.max(0.0),
            covered.call
        )),
        Err(wrong) => Tried::Fail(wrong),
    }
}

/// How much of a long call its phases cover.
struct Covered {
    /// From the first phase to the answer.
    call: Nanos,
    /// What a call must take for a message not to matter.
    needed: Nanos,
    /// Share of the call outside the phases, but for what messages take.
    outside: f64,
}

async fn covered(bench: &Bench) -> Result<Covered, String> {
    for (procedure, _) in offered(bench).await? {
        in_order(&bench.good(bench.request(procedure, STEPS, 1)).await?, procedure)?;
    }
    let mut best: Option<Covered> = None;
    let mut judged = 0;
    for _ in 0..MOST_TRIES {
        let answered = bench.good(bench.request(bench.procedure(), bench.most_steps(), 1)).await?;
        in_order(&answered, bench.procedure())?;
        let covered = cover(&answered);
        judged += u32::from(covered.is_long());
        let enough = judged == TRIES || (covered.is_long() && covered.outside <= OUTSIDE / 2.0);
        if best.as_ref().is_none_or(|best| covered.is_better_than(best)) {
            best = Some(covered);
        }
        if enough {
            break;
        }
    }
    best.ok_or_else(|| "no call was made".to_owned())
}

impl Covered {
    /// Whether messages do not matter beside the call.
    fn is_long(&self) -> bool {
        self.call >= self.needed
    }

    /// A long call tells more than a short one, and of two alike the one that lies less outside its phases.
    fn is_better_than(&self, other: &Self) -> bool {
        (self.is_long(), -self.outside) > (other.is_long(), -other.outside)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of times")]
fn cover(answered: &Answered) -> Covered {
    let spans = &answered.reply.spans;
    let begin = spans.first().map_or(answered.sent, |span| answered.mapping.run(span.begin_ns));
    let call = answered.received.since(begin);
    let inside: u64 = spans.iter().map(|span| span.end_ns.saturating_sub(span.begin_ns)).sum();
    let message = answered.mapping.slowest.0;
    let outside = call.0.saturating_sub(inside).saturating_sub(message);
    Covered { call, needed: Nanos(LONG * message), outside: outside as f64 / call.0.max(1) as f64 }
}

/// The phases that the procedure has, one after the other, none before the request was sent or after its answer was there.
fn in_order(answered: &Answered, asked: Procedure) -> Result<(), String> {
    let procedure = match asked {
        Procedure::PrefillDecode => terms::Procedure::PrefillDecode,
        Procedure::Uncached => terms::Procedure::Uncached,
        Procedure::Prefill | Procedure::Unspecified => terms::Procedure::Prefill,
    };
    let told: Vec<Option<Phase>> = answered.reply.spans.iter().map(|span| phase(span.phase())).collect();
    let expected: Vec<Option<Phase>> = phases(procedure).iter().copied().map(Some).collect();
    if told != expected {
        let names = |found: &[Option<Phase>]| {
            let names: Vec<&str> =
                found.iter().map(|phase| phase.map_or("unspecified", |phase| phase.as_str())).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        return Err(format!("{}: the phases are {}, expected {}", name(asked), names(&told), names(&expected)));
    }
    let slack = answered.mapping.uncertainty;
    let mut last = answered.sent;
    for span in &answered.reply.spans {
        let (begin, end) = (answered.mapping.run(span.begin_ns), answered.mapping.run(span.end_ns));
        if begin + slack < last || end < begin {
            return Err(format!(
                "{}: a phase begins before what comes before it has ended, or ends before it",
                name(asked)
            ));
        }
        last = end;
    }
    if last > answered.received + slack {
        let late = last.since(answered.received);
        return Err(format!("{}: the last phase ends {late} after the answer was there", name(asked)));
    }
    Ok(())
}
