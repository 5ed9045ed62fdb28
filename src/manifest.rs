//! The stack's fingerprint.
