//! What went on beside a call.
