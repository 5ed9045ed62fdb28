//! What comes next: a pure function of plan and records.
