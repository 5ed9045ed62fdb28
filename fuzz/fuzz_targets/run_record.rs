#![no_main]

phasebench_fuzz::fuzz!(run_record);
