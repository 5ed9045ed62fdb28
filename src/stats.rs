//! f64 in, estimates out; knows nothing of ours.
