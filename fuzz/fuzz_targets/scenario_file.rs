#![no_main]

phasebench_fuzz::fuzz!(scenario_file);
