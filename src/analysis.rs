//! Derives every table from records alone.
