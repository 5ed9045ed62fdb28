//! `phasebench schema`: the JSON Schema of scenario files.

use std::io::Write;

use crate::exit::Exit;
use crate::spec;

/// Prints the schema.
///
/// # Errors
/// Standard output refuses.
pub fn execute(out: &mut dyn Write) -> anyhow::Result<Exit> {
    writeln!(out, "{:#}", spec::schema())?;
    Ok(Exit::Good)
}
