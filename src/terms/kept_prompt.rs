//! What a record tells of prompts that a server may keep: the names that whoever writes a call and whoever judges it again
//! share.

/// An engine's duration: the prefill of a prompt that was sent again on purpose, right after the same one. It stands in
/// the record of the call that followed.
pub const REPEATED_PREFILL: &str = "repeat_prompt_eval_duration";

/// Evidence: what the prompt begins with, so that the server has kept none like it.
pub const PROMPT_BEGIN: &str = "nonce";
