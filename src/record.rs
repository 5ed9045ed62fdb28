//! On-disk schema.
