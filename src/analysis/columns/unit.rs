//! Units by the ends of names.

/// Ends of names that tell a unit; a longer end stands before one that it ends in.
const ENDS: [(&str, &str); 19] = [
    ("_tokens_per_s", "tokens per second"),
    ("tokens_per_s", "tokens per second"),
    ("_ms_per_token", "milliseconds per token"),
    ("ms_per_token", "milliseconds per token"),
    ("_ms_per_step", "milliseconds per step"),
    ("_us_per_step", "microseconds per step"),
    ("_ms_per_x", "milliseconds per unit of x"),
    ("j_per_token", "joules per token"),
    ("j_per_token_low", "joules per token"),
    ("j_per_token_high", "joules per token"),
    ("_ms", "milliseconds"),
    ("_ns", "nanoseconds"),
    ("_j", "joules"),
    ("_w", "watts"),
    ("_mhz", "megahertz"),
    ("_c", "degrees Celsius"),
    ("_bytes", "bytes"),
    ("_relative", "fraction"),
    ("params_millions", "millions"),
];

/// The unit that a column's name tells. `None`: it tells none.
pub(super) fn of_name(name: &str) -> Option<&'static str> {
    ENDS.iter().find(|(end, _)| name.ends_with(end)).map(|(_, unit)| *unit)
}
