//! `phasebench schema`: the JSON Schema of scenario files.

use std::io::Write;

use crate::commands::CommandError;
use crate::exit::Exit;
use crate::scenario;

/// Prints the schema.
///
/// # Errors
/// Standard output refuses.
pub fn execute(out: &mut dyn Write) -> Result<Exit, CommandError> {
    writeln!(out, "{:#}", scenario::schema())?;
    Ok(Exit::Good)
}
