//! Who the worker says it is, and the order of its messages.

use tonic::Code;

use super::bench::{Bench, out_of_order, patiently, shape};
use super::finding::Tried;
use crate::backend::worker::connection::{VERSION, promptly, status_text};
use crate::backend::worker::protocol::{
    CompileRequest, DescribeRequest, HelloRequest, LoadRequest, Procedure, ReadClockRequest, UnloadRequest,
};
use crate::backend::worker::text::clean;
use crate::terms::Mode;

/// It names itself, speaks this version also with newer clients, and offers something.
pub async fn hello(bench: &Bench) -> Result<String, String> {
    let mut client = bench.client();
    let newer = HelloRequest { protocol_version: VERSION + 8, client: "phasebench worker check".to_owned() };
    let answer = promptly(client.hello(newer)).await.map_err(|status| {
        format!("Hello of a client that speaks version {} too: {}", VERSION + 8, status_text(&status))
    })?;
    if answer.protocol_version != VERSION {
        return Err(format!("the version that both speak is {VERSION}, not {}", answer.protocol_version));
    }
    let older = HelloRequest { protocol_version: 0, client: String::new() };
    out_of_order("Hello of a client that speaks version 0", client.hello(older).await)?;
    if answer.worker.trim().is_empty() {
        return Err("`worker` is empty: it has no name".to_owned());
    }
    let offered: Vec<&str> = bench.live.who.capabilities.procedures().map(|offered| offered.as_str_name()).collect();
    if offered.is_empty() {
        return Err("`capabilities.procedures` is empty: nothing can be measured".to_owned());
    }
    Ok(format!("{}, offers {}", bench.live.who.worker, offered.join(", ")))
}

/// A message without the token, or with another, is refused.
pub async fn token(bench: &Bench) -> Tried {
    if bench.token.is_none() {
        return Tried::Not("a socket without a token: its folder keeps others out".to_owned());
    }
    for (whose, token) in [("without the token", None), ("with another token", Some("0000"))] {
        let mut stranger = match bench.client_with(token) {
            Ok(stranger) => stranger,
            Err(why) => return Tried::Fail(why),
        };
        match promptly(stranger.read_clock(ReadClockRequest {})).await {
            Err(status) if status.code() == Code::Unauthenticated => {}
            Err(status) => {
                let why = status_text(&status);
                return Tried::Fail(format!("a message {whose} ends with {why}, expected UNAUTHENTICATED"));
            }
            Ok(_) => return Tried::Fail(format!("a message {whose} is answered, expected UNAUTHENTICATED")),
        }
    }
    Tried::Pass("messages without it, or with another, are refused".to_owned())
}

/// It says what it is, and what the timed region of each phase includes.
pub async fn describe(bench: &Bench) -> Result<String, String> {
    let mut client = bench.client();
    let request = DescribeRequest { settings: Some(bench.settings.clone()) };
    let answer = patiently("Describe", client.describe(request)).await?;
    if let Some(error) = answer.error {
        return Err(format!("it cannot be set so: {}; {}", clean(&error.message), clean(&answer.fix)));
    }
    if answer.engine.trim().is_empty() {
        return Err("`engine` is empty: it has no name in any table".to_owned());
    }
    let mut asked: Vec<Mode> = Vec::new();
    for procedure in bench.live.who.capabilities.procedures() {
        asked.extend(match procedure {
            Procedure::Unspecified => &[][..],
            Procedure::Prefill => &[Mode::Prefill],
            Procedure::PrefillDecode => &[Mode::Prefill, Mode::KvDecode],
            Procedure::Uncached => &[Mode::GenerateUncached],
        });
    }
    let untold = asked.iter().find(|mode| answer.boundary.get(mode.as_str()).is_none_or(|text| text.trim().is_empty()));
    match untold {
        Some(mode) => {
            Err(format!("`boundary` says nothing of `{mode}`: what its timed region includes and leaves out"))
        }
        None => Ok(format!("{} {}", clean(&answer.engine), clean(&answer.engine_version)).trim().to_owned()),
    }
}

/// Every arrow of the state machine, and messages where it has none. Leaves a model loaded.
pub async fn order(bench: &Bench) -> Result<String, String> {
    let found = arrows(bench).await;
    // Whatever was wrong, what follows needs a model.
    let loaded = bench.load_anew().await;
    found.and(loaded).map(|()| "each message where the state machine has it, refused where it has not".to_owned())
}

async fn arrows(bench: &Bench) -> Result<(), String> {
    let mut client = bench.client();
    nothing_is_loaded(bench, "while nothing is loaded").await?;
    for _ in 0..2 {
        let prepared = patiently("Prepare", client.prepare(bench.preparing())).await?;
        if let Some(error) = prepared.error {
            return Err(format!("Prepare: {}", clean(&error.message)));
        }
    }
    describes(bench).await?;
    nothing_is_loaded(bench, "after Prepare").await?;
    bench.load().await?;
    out_of_order("Load while a model is loaded", client.load(LoadRequest::default()).await)?;
    out_of_order("Prepare while a model is loaded", client.prepare(bench.preparing()).await)?;
    describes(bench).await?;
    compiles(bench).await?;
    bench.good(bench.request(bench.procedure(), 2, 0)).await?;
    describes(bench).await?;
    let unloaded = promptly(client.unload(UnloadRequest {})).await.map_err(|status| status_text(&status))?;
    if let Some(error) = unloaded.error {
        return Err(format!("Unload: {}", clean(&error.message)));
    }
    nothing_is_loaded(bench, "after Unload").await?;
    // What was prepared can be loaded again.
    bench.load().await?;
    bench.good(bench.request(bench.procedure(), 2, 0)).await.map(drop)
}

async fn nothing_is_loaded(bench: &Bench, when: &str) -> Result<(), String> {
    let mut client = bench.client();
    out_of_order(&format!("Call {when}"), client.call(bench.request(bench.procedure(), 2, 0)).await)?;
    out_of_order(&format!("Compile {when}"), client.compile(compiling(bench)).await)?;
    out_of_order(&format!("Unload {when}"), client.unload(UnloadRequest {}).await)
}

async fn describes(bench: &Bench) -> Result<(), String> {
    let request = DescribeRequest { settings: Some(bench.settings.clone()) };
    patiently("Describe", bench.client().describe(request)).await.map(drop)
}

/// A worker that compiles nothing answers without phases.
async fn compiles(bench: &Bench) -> Result<(), String> {
    let answer = patiently("Compile", bench.client().compile(compiling(bench))).await?;
    if let Some(error) = answer.error {
        return Err(format!("Compile: {}", clean(&error.message)));
    }
    if !bench.live.who.capabilities.compiles && !answer.phases.is_empty() {
        return Err("Compile tells of phases, and `capabilities.compiles` is false".to_owned());
    }
    Ok(())
}

/// A compilation for a small shape.
pub fn compiling(bench: &Bench) -> CompileRequest {
    CompileRequest { shape: Some(shape(&bench.request(bench.procedure(), 2, 0))) }
}
