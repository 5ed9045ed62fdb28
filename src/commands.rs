//! One file per command: the only place where layers meet.
