#![no_main]

phasebench_fuzz::fuzz!(worker_messages);
