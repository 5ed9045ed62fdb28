//! `phasebench schema`: the JSON Schemas of the files that a user writes.

use std::io::Write;

use crate::cli::{SchemaArgs, SchemaOf};
use crate::commands::CommandError;
use crate::exit::Exit;
use crate::scenario::{self, claims, pricing, workload};

/// Prints the schema.
///
/// # Errors
/// Standard output refuses.
pub fn execute(args: &SchemaArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let schema = match args.of {
        SchemaOf::Scenario => scenario::schema(),
        SchemaOf::Pricing => pricing::schema(),
        SchemaOf::Workload => workload::schema(),
        SchemaOf::Claims => claims::schema(),
    };
    writeln!(out, "{schema:#}")?;
    Ok(Exit::Good)
}
