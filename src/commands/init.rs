//! `phasebench init`: looks what is here, engines and models, and writes a scenario file that measures it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use crate::backend::ollama::manage;
use crate::cli::InitArgs;
use crate::exit::Exit;
use crate::store::io_error;

use super::CommandError;
use super::error::Exists;

mod found;
mod text;

use found::Found;

/// Writes the file; `-` is `out`.
///
/// # Errors
/// The file exists already or cannot be written.
pub fn execute(args: &InitArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let path = std::path::absolute(&args.models)?;
    if !path.is_dir() {
        let why = io::Error::new(io::ErrorKind::NotFound, "no such folder; models are looked for below it");
        return Err(io_error(&args.models, "read")(why).into());
    }
    let url = args.ollama.clone().unwrap_or_else(manage::default_url);
    let found = Found::look(&path, &url, &crate::cache::root());
    let text = text::text(&found, &url);
    if args.out == Path::new("-") {
        out.write_all(text.as_bytes())?;
        return Ok(Exit::Good);
    }
    let opened = OpenOptions::new().write(true).create_new(true).open(&args.out);
    let mut file = match opened {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Exists(args.out.display().to_string()).into());
        }
        opened => opened.map_err(io_error(&args.out, "create"))?,
    };
    file.write_all(text.as_bytes()).map_err(io_error(&args.out, "write"))?;
    let (folders, file) = (found.folders.len(), args.out.display());
    let (all, below) = (folders + found.more_folders, args.models.display());
    let smallest = if found.more_folders == 0 { String::new() } else { format!("; the smallest {folders} are in it") };
    writeln!(out, "{file}: {all} model folders found below {below}{smallest}")?;
    writeln!(out, "  next: phasebench plan {file}; phasebench run {file}")?;
    Ok(Exit::Good)
}
