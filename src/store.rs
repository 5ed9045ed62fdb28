//! The run folder: append, read, lock.
