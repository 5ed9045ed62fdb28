#![no_main]

phasebench_fuzz::fuzz!(streams);
