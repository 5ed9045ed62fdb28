#![no_main]

phasebench_fuzz::fuzz!(model_folder);
