//! Cells with stable ids.
