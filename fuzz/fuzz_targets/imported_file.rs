#![no_main]

phasebench_fuzz::fuzz!(imported_file);
