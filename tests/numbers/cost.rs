//! `phasebench cost`: prices of runs whose truth is known, and of the published tables.

mod coverage;
mod energy;
mod run;
mod table;
