//! What contradicts itself, the model or the settings is `INVALID`, and harms nothing.

use super::bench::{Bench, patiently};
use crate::backend::worker::protocol::error::Kind;
use crate::backend::worker::protocol::{CallRequest, DescribeRequest, Error, Settings};
use crate::backend::worker::text::clean;

/// Settings that nobody knows, and calls that no model can take. The next call is as if there had been none.
pub async fn invalid(bench: &Bench) -> Result<String, String> {
    let mut client = bench.client();
    let odd = ("phasebench.no-such-option".to_owned(), "1".to_owned());
    let option = Settings { options: [odd].into(), ..bench.settings.clone() };
    let device = Settings { device: "no-such-device".to_owned(), ..bench.settings.clone() };
    let dtype = Settings { dtype: "no-such-dtype".to_owned(), ..bench.settings.clone() };
    for (what, settings) in [("an unknown option", option), ("an unknown device", device), ("an unknown dtype", dtype)]
    {
        let request = DescribeRequest { settings: Some(settings) };
        let answer = patiently("Describe", client.describe(request)).await?;
        is_invalid(what, answer.error.as_ref())?;
    }
    let good = bench.request(bench.procedure(), 2, 0);
    let beyond = bench.model.vocabulary;
    let (short, far) = (good.padded_to - 1, bench.model.context);
    let mut stray = good.clone();
    stray.prompts.iter_mut().for_each(|row| row.ids[0] = beyond);
    for (what, request) in [
        ("a call without a procedure", CallRequest { procedure: 0, ..good.clone() }),
        ("a token id beyond the vocabulary", stray),
        ("a call without rows", CallRequest { prompts: Vec::new(), ..good.clone() }),
        ("`padded_to` below the longest row", CallRequest { padded_to: short, ..good.clone() }),
        ("a sequence beyond the model's context", CallRequest { steps: far, padded_to: far, ..good.clone() }),
    ] {
        let answer = patiently("Call", client.call(request)).await.map_err(|why| format!("{what}: {why}"))?;
        is_invalid(what, answer.error.as_ref())?;
        if !answer.session_usable {
            return Err(format!("{what}: `session_usable` is false, and nothing was touched"));
        }
    }
    let before = bench.good(good.clone()).await?;
    let after = bench.good(good).await?;
    if before.reply.tokens != after.reply.tokens {
        return Err("after refusals the same call gives other tokens".to_owned());
    }
    Ok("what cannot be is refused, and the next call goes on".to_owned())
}

fn is_invalid(what: &str, error: Option<&Error>) -> Result<(), String> {
    let Some(error) = error else { return Err(format!("{what}: taken, expected INVALID")) };
    let (kind, words) = (error.kind(), clean(&error.message));
    match kind {
        _ if words.trim().is_empty() => Err(format!("{what}: refused without a word")),
        Kind::Invalid => Ok(()),
        kind => Err(format!("{what}: {} ({words}), expected INVALID", kind.as_str_name())),
    }
}
