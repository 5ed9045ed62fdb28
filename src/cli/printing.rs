//! Arguments of what only prints.

use clap::{Args, ValueEnum};

/// `schema`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench schema scenario > scenario.schema.json")]
pub struct SchemaArgs {
    /// Of which files
    #[arg(value_enum, default_value_t)]
    pub of: SchemaOf,
}

/// Files that a user writes.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum SchemaOf {
    /// What is measured
    #[default]
    Scenario,
    /// What hours, kilowatt-hours and machines cost
    Pricing,
    /// Which requests are served
    Workload,
    /// What is said of engines
    Claims,
}

/// `completions`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench completions bash > phasebench.bash")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}
