//! `phasebench models pull` and `prune`: what an Ollama server has in its store.

use std::io::Write;
use std::sync::Arc;

use crate::backend::BackendError;
use crate::backend::http::{Client, ClientError};
use crate::backend::ollama::manage::{NAMESPACE, Server, default_url, what_helps};
use crate::backend::text::clean;
use crate::cli::{PruneArgs, PullArgs};
use crate::clock::RealClock;
use crate::commands::CommandError;
use crate::commands::error::BadUrl;
use crate::exit::Exit;

/// What no request removes.
const LEFT_BEHIND: &str = "  the server keeps the files they were uploaded as until it starts again, and removes them then if they are \
                           older than an hour and OLLAMA_NOPRUNE is not set; to free the space: restart it an hour after the last \
                           upload";

/// Lets the server fetch a model.
///
/// # Errors
/// No server, or it cannot fetch the model.
pub fn pull(args: &PullArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let url = args.url.clone().unwrap_or_else(default_url);
    let server = server(&url)?;
    writeln!(out, "the server at {url} fetches {}: this can take minutes", clean(&args.model))?;
    server.pull(&args.model).map_err(|error| unavailable(&error, &url))?;
    writeln!(out, "{} is there", clean(&args.model))?;
    Ok(Exit::Good)
}

/// Deletes every model of ours from the server.
///
/// # Errors
/// No server, or it does not delete a model.
pub fn prune(args: &PruneArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let url = args.url.clone().unwrap_or_else(default_url);
    let server = server(&url)?;
    let names = server.ours().map_err(|error| unavailable(&error, &url))?;
    for name in &names {
        if !args.dry_run {
            server.delete(name).map_err(|error| unavailable(&error, &url))?;
        }
        writeln!(out, "{}", clean(name))?;
    }
    let models = if names.len() == 1 { "model" } else { "models" };
    let done = if args.dry_run { "would be deleted" } else { "deleted" };
    writeln!(out, "{} {models} below {NAMESPACE} {done}", names.len())?;
    if !names.is_empty() {
        writeln!(out, "{LEFT_BEHIND}")?;
    }
    Ok(Exit::Good)
}

fn server(url: &str) -> Result<Server, CommandError> {
    let client = Client::new("ollama", url, Arc::new(RealClock::default())).map_err(BadUrl)?;
    Ok(Server::new(Arc::new(client)))
}

/// A server that is not there, or does not do what it is asked for.
fn unavailable(error: &ClientError, url: &str) -> CommandError {
    let (what, fix) = (error.to_string(), what_helps(error, url));
    BackendError::Unavailable { backend: "ollama".to_owned(), what, fix }.into()
}
