//! The scenario file's format as data: every key with its kind, range, default and meaning.
//!
//! The one table that [`super::check`] checks a file against and [`super::schema`] turns into a JSON Schema,
//! so that the two cannot drift apart.

use super::shape::{Choice, Field, Kind, Need, Section};

const fn required(key: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { key, kind, need: Need::Required, doc }
}

const fn optional(key: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { key, kind, need: Need::Optional, doc }
}

const fn default(key: &'static str, kind: Kind, value: &'static str, doc: &'static str) -> Field {
    Field { key, kind, need: Need::Default(value), doc }
}

const fn words(allowed: &'static [&'static str]) -> Kind {
    Kind::Word { allowed, explained: &[] }
}

const fn whole(min: u64, max: u64) -> Kind {
    Kind::Whole { min, max }
}

const fn number(min: f64, max: f64) -> Kind {
    Kind::Number { min, max, above: false, below: false }
}

/// Most tokens of a prompt or a decode loop; far beyond any context, so that sums cannot overflow.
const TOKENS: Kind = whole(1, 1 << 20);

/// The whole file.
pub const SCENARIO_FILE: Section = Section {
    what: "a scenario file",
    choice: None,
    fields: &[
        required("version", Kind::Version, "Version of this format: 1."),
        required("name", Kind::Name, "Names the run folder."),
        default("seed", whole(0, i64::MAX as u64), "42", "Decides every random choice: order and prompts."),
        default(
            "order",
            words(&["blocked", "interleaved", "shuffled"]),
            "blocked",
            "How calls follow each other. blocked: each model loads once, its calls in random order. \
             interleaved: rounds, every cell once per round; the fair order on a drifting machine. \
             shuffled: cells in random order, all calls of a cell together.",
        ),
        default("warmups", WARMUPS, "1", "Warmup calls per cell and load; a backend may say its own."),
        default("repetitions", Kind::Forms(REPETITIONS), "{}", "When a cell has enough timed calls."),
        default(
            "early_stop",
            Kind::Section(&EARLY_STOP),
            "{}",
            "What is made of calls that an engine ends at a stop token before all decode steps were made.",
        ),
        default("gen_tokens", GEN_TOKENS, "[64]", "Timed decode steps, one cell for each; a scenario may say its own."),
        default("modes", Kind::List { item: &MODE, min: 1, unique: true }, "[prefill, kv_decode]", "What is timed."),
        default("fit", Kind::Section(&FIT), "{}", "What the scaling fit runs against."),
        default("timeout", Kind::Duration, "120s", "Longest time that one call, one load or one compilation may take."),
        required("scenarios", Kind::List { item: &Kind::Section(&SCENARIO), min: 1, unique: false }, "The prompts."),
        required("models", Kind::List { item: &Kind::Section(&MODEL), min: 1, unique: false }, "The models."),
        required(
            "backends",
            Kind::List { item: &Kind::Section(&BACKEND), min: 1, unique: false },
            "The engines and how they are set.",
        ),
        default(
            "skip",
            Kind::List { item: &Kind::Section(&SKIP), min: 0, unique: false },
            "[]",
            "Combinations left out on purpose.",
        ),
        default("limits", Kind::Section(&LIMITS), "{}", "When a run is not worth trusting, and what it may use."),
        optional(
            "telemetry",
            Kind::Section(&TELEMETRY),
            "Records power beside the calls, where this machine has a sensor. Left out: no power is recorded.",
        ),
    ],
};

const TELEMETRY: Section = Section {
    what: "telemetry",
    choice: None,
    fields: &[
        default("period", Kind::Duration, "20ms", "Time between two readings of every sensor, 1ms to 1s."),
        default(
            "idle",
            Kind::DurationOrNone,
            "60s",
            "How long everything is left alone before the run, after each load and after the run, to measure idle \
             power. 0s: never.",
        ),
        default(
            "looped",
            Kind::DurationOrNone,
            "5s",
            "A phase that is too short for the sensor is repeated without pause, in five windows of this length, once per \
             cell and after its calls. 0s: never.",
        ),
        default(
            "calibrate",
            Kind::Flag,
            "true",
            "Before the run, the timing of every sensor is measured that was not measured in this boot, about a minute \
             each. Without it no figure is better than grade C.",
        ),
        optional(
            "sensors",
            Kind::List { item: &words(&["nvml", "rapl", "hwmon"]), min: 1, unique: true },
            "Sensors that are read, and charged with every call, the first one first. Left out: all are read, and a call \
             is charged to the device it ran on.",
        ),
    ],
};

const WARMUPS: Kind = whole(0, 1000);
const GEN_TOKENS: Kind = Kind::List { item: &TOKENS, min: 1, unique: true };
const MODE: Kind = Kind::Word {
    allowed: &["prefill", "kv_decode", "generate_uncached"],
    explained: &[("e2e_kv", "is derived from `prefill` and `kv_decode`: remove it")],
};

const REPETITIONS: &[Section] = &[
    Section {
        what: "fixed repetitions",
        choice: None,
        fields: &[required("fixed", whole(1, 100_000), "Always this many timed calls per cell.")],
    },
    Section {
        what: "adaptive repetitions",
        choice: None,
        fields: &[
            default(
                "min",
                whole(3, 100_000),
                "3",
                "Fewest timed calls per cell. No cell stops before 8 calls, unless `max` is less.",
            ),
            default("max", whole(3, 100_000), "30", "Most timed calls per cell."),
            default(
                "until_relative_ci",
                Kind::Number { min: 0.0, max: 0.5, above: true, below: false },
                "0.02",
                "Stop a cell once the 95 % interval's half-width is at most this share of the estimate, in every timed mode.",
            ),
        ],
    },
];

const EARLY_STOP: Section = Section {
    what: "an early-stop rule",
    choice: None,
    fields: &[
        default("retries", whole(0, 1000), "3", "How often a timed call that ended early is made again."),
        default("min_steps", whole(1, 1 << 20), "8", "Fewest decode steps whose time may be scaled to all of them."),
        default(
            "scale",
            Kind::Flag,
            "true",
            "Whether the last try counts, its decode time scaled by step; if not, it is degraded.",
        ),
    ],
};

const FIT: Section = Section {
    what: "a fit",
    choice: None,
    fields: &[default(
        "x",
        words(&["params", "n_layer", "n_embd", "n_head"]),
        "params",
        "The column latency is fitted against; params are in millions.",
    )],
};

const SCENARIO: Section = Section {
    what: "a scenario",
    choice: None,
    fields: &[
        required("name", Kind::Name, "Its name, unique in the file."),
        required("prompt", Kind::Forms(PROMPT), "Where the prompt's tokens come from; counts include BOS."),
        optional("batch", whole(1, 4096), "Rows decoded together; as many as there are texts, else 1, if not given."),
        optional("gen_tokens", GEN_TOKENS, "Timed decode steps, instead of the file's."),
    ],
};

const PAD_TO: Field = optional("pad_to", TOKENS, "Tokens all rows are padded to.");

/// `file` stands first: it has `tokens` beside it.
const PROMPT: &[Section] = &[
    Section {
        what: "a prompt from a file",
        choice: None,
        fields: &[
            required("file", Kind::Text, "Text file, relative to the scenario file."),
            required("tokens", TOKENS, "Exactly so many tokens from its beginning."),
        ],
    },
    Section {
        what: "a prompt of several texts",
        choice: None,
        fields: &[
            required(
                "texts",
                Kind::List { item: &Kind::Text, min: 1, unique: false },
                "One text per batch row, in turn.",
            ),
            PAD_TO,
        ],
    },
    Section {
        what: "a prompt of one text",
        choice: None,
        fields: &[required("text", Kind::Text, "This text, in every batch row."), PAD_TO],
    },
    Section {
        what: "a prompt of filler tokens",
        choice: None,
        fields: &[required("tokens", TOKENS, "Exactly so many seeded filler tokens.")],
    },
];

const MODEL: Section = Section {
    what: "a model",
    choice: Some(Choice { what: "model source", keys: &["synthetic", "huggingface", "ollama"] }),
    fields: &[
        required("name", Kind::Name, "Its name, unique in the file."),
        optional("synthetic", Kind::Section(&SYNTHETIC), "A model with seeded random weights, made on the spot."),
        optional(
            "huggingface",
            Kind::Text,
            "A Hugging Face folder (config.json, model.safetensors, tokenizer.json), relative to the scenario file.",
        ),
        optional("ollama", Kind::Text, "A model that an Ollama server has of its own, such as gemma3:270m."),
    ],
};

/// Widest dimension of a synthetic model; the model module knows the rules between the fields.
const WIDTH: Kind = whole(1, 1 << 20);

const SYNTHETIC: Section = Section {
    what: "a synthetic model",
    choice: None,
    fields: &[
        required("family", words(&["gpt2", "llama", "qwen2", "phi"]), "Which architecture."),
        required("n_layer", whole(1, 1024), "Transformer blocks."),
        required("n_embd", WIDTH, "Width of the residual stream."),
        required("n_head", whole(1, 1024), "Query heads."),
        optional("n_kv_head", whole(1, 1024), "Key-value heads; as many as query heads if not given."),
        optional("n_inner", WIDTH, "Width inside the MLP; the family's usual multiple if not given."),
        optional("vocab", WIDTH, "Vocabulary; the family's usual one if not given."),
        optional("n_positions", WIDTH, "Longest context in tokens; the family's usual one if not given."),
        optional("dtype", words(&["f32", "f16", "bf16"]), "Stored element type; f32 if not given."),
        optional("seed", whole(0, i64::MAX as u64), "Seed of the weights."),
    ],
};

const BACKEND: Section = Section {
    what: "a backend",
    choice: Some(Choice { what: "engine", keys: &["onnx", "ollama", "torch", "worker", "simulated"] }),
    fields: &[
        required("name", Kind::Name, "Its name, unique in the file."),
        optional("warmups", WARMUPS, "Warmup calls per cell and load, instead of the file's."),
        optional("onnx", Kind::Section(&ONNX), "ONNX Runtime, in this process or a child of it."),
        optional("ollama", Kind::Section(&OLLAMA), "An Ollama server on this machine."),
        optional("torch", Kind::Section(&TORCH), "PyTorch, eager or compiled, in a worker process or container."),
        optional("worker", Kind::Section(&WORKER), "Any engine that serves the worker protocol at an address."),
        optional(
            "simulated",
            Kind::Section(&SIMULATED),
            "Scripted truth instead of an engine: what the analysis must find again.",
        ),
    ],
};

const PROVIDER: Kind = Kind::Word {
    allowed: &["cpu", "cuda"],
    explained: &[("gpu", "is no execution provider: ONNX Runtime's is `cuda`")],
};

const ONNX: Section = Section {
    what: "an ONNX Runtime engine",
    choice: None,
    fields: &[
        default("provider", PROVIDER, "cpu", "Execution provider that must run the graph."),
        optional("device", whole(0, 63), "GPU index, for cuda; the first if not given."),
        optional("threads", whole(1, 1024), "Threads inside an operator; as many as physical cores if not given."),
        default("optimisation", words(&["disabled", "basic", "extended", "all"]), "all", "Graph optimisation level."),
        default("dtype", words(&["f32", "f16"]), "f32", "Weights, KV cache and logits."),
        default(
            "arg_max",
            words(&["outside", "inside"]),
            "outside",
            "Where the next token is chosen: by the client on a view of the logits, or by a node of the graph.",
        ),
        default(
            "isolation",
            words(&["none", "process"]),
            "none",
            "none: in this process. process: in a child, one per session, so that a crash costs one call.",
        ),
    ],
};

const TORCH: Section = Section {
    what: "a torch worker",
    choice: None,
    fields: &[
        default(
            "launch",
            words(&["process", "docker"]),
            "process",
            "process: in the environment of `phasebench setup torch`. docker: in a container of the image of \
             `phasebench setup torch --docker`.",
        ),
        default("resources", Kind::Section(&RESOURCES), "{}", "What a container may use."),
        default("device", PROVIDER, "cpu", "Where the model must run."),
        optional("gpu", whole(0, 63), "GPU index, for cuda; the first if not given."),
        optional("threads", whole(1, 1024), "Threads inside an operator; torch's choice if not given."),
        default("dtype", words(&["f32", "f16"]), "f32", "Weights and KV cache."),
        optional("compile", Kind::Section(&COMPILE), "What torch.compile makes faster; nothing if not given."),
    ],
};

const RESOURCES: Section = Section {
    what: "a container's resources",
    choice: None,
    fields: &[
        optional("memory", Kind::Bytes, "Memory; all of the machine's if not given."),
        optional("cpus", whole(1, 4096), "Processors; all if not given."),
        optional("pids", whole(16, 1 << 20), "Processes and threads at once; 512 if not given."),
    ],
};

const COMPILE: Section = Section {
    what: "a compile policy",
    choice: None,
    fields: &[
        default("prefill", Kind::Flag, "true", "Whether the pass over the prompts is compiled."),
        default("decode", Kind::Flag, "true", "Whether the decode step is compiled."),
        default("backend", words(&["inductor", "aot_eager", "cudagraphs"]), "inductor", "Which compiler."),
        default(
            "mode",
            words(&["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]),
            "default",
            "Preset of the compiler.",
        ),
        default(
            "dynamic",
            words(&["static", "dynamic", "auto"]),
            "static",
            "static: a graph per shape. dynamic: one for all lengths. auto: static until a second shape comes.",
        ),
        default(
            "buckets",
            Kind::List { item: &TOKENS, min: 0, unique: true },
            "[]",
            "Prompt lengths that prompts are padded to, with a mask; ascending.",
        ),
        default("fullgraph", Kind::Flag, "true", "Whether a graph that cannot be compiled whole is an error."),
        default(
            "on_recompile",
            words(&["fail", "record"]),
            "fail",
            "fail: planned shapes are compiled before the first call, any other is an error. \
             record: nothing is compiled ahead; a shape compiles inside its first call, counted, its time in the row.",
        ),
        optional("recompile_limit", whole(1, 100_000), "Most graphs of one function; torch's own limit if not given."),
    ],
};

const WORKER: Section = Section {
    what: "a worker at an address",
    choice: None,
    fields: &[
        required("address", Kind::Text, "unix:/path/to/socket or tcp:127.0.0.1:PORT."),
        optional("token_env", Kind::Text, "Environment variable that holds the token the worker wants."),
        default("device", Kind::Text, "cpu", "Device by the engine's name, e.g. cpu or cuda:0."),
        optional("threads", whole(1, 1024), "Threads inside an operator; the engine's choice if not given."),
        default("dtype", words(&["f32", "f16"]), "f32", "Weights and KV cache."),
        default(
            "options",
            Kind::List { item: &Kind::Text, min: 0, unique: true },
            "[]",
            "The engine's own settings, `key=value` each.",
        ),
    ],
};

const OLLAMA: Section = Section {
    what: "an Ollama server",
    choice: None,
    fields: &[
        default("url", Kind::Text, "\"http://127.0.0.1:11434\"", "Where it listens."),
        default(
            "device",
            words(&["any", "cpu", "gpu"]),
            "any",
            "Where models must run: cpu keeps every layer off the GPU, gpu asks for every layer on it.",
        ),
        default(
            "num_ctx",
            whole(16, 1 << 20),
            "2048",
            "Context every load allocates; never more than the model's own.",
        ),
        default("num_batch", whole(1, 1 << 16), "512", "Prompt tokens computed together."),
        optional("threads", whole(1, 1024), "Threads of the engine; the server's choice if not given."),
        default("dtype", words(&["f32", "f16"]), "f32", "Weights of model folders, which are converted and uploaded."),
        default("temperature", number(0.0, 2.0), "1", "Sampling temperature; at 0 a random model repeats itself."),
        optional("max_resident", whole(1, 1000), "Most models kept loaded, never more than the server is set to keep."),
    ],
};

const SIMULATED: Section = Section {
    what: "a simulated engine",
    choice: None,
    fields: &[
        default("load", Kind::Section(&LAW), "{ base: 50ms, exponent: 0.5 }", "Time to load a model."),
        default(
            "prefill_per_token",
            Kind::Section(&LAW),
            "{ base: 40us, exponent: 0.8 }",
            "Time to prefill one prompt token of one row.",
        ),
        default("decode_per_step", Kind::Section(&LAW), "{ base: 300us, exponent: 0.7 }", "Time of one decode step."),
        default("noise", number(0.0, 2.0), "0.05", "Standard deviation of the log of each phase's time."),
        default(
            "autocorrelation",
            Kind::Number { min: -1.0, max: 1.0, above: true, below: true },
            "0.3",
            "Lag-1 autocorrelation of that noise within a session.",
        ),
        default("cold_factor", number(1.0, 1e6), "5", "Factor on the first call of a session."),
        default("cold_shape_factor", number(1.0, 1e6), "2", "Factor on the first call of each further shape."),
        default(
            "drift_per_call",
            Kind::Number { min: -1.0, max: 1.0, above: true, below: true },
            "0",
            "Relative change of every phase's time per call since the session was loaded.",
        ),
        default("early_stop_rate", number(0.0, 1.0), "0", "Share of calls that stop early, at a seeded place."),
        default(
            "faults",
            Kind::List { item: &Kind::Section(&FAULT), min: 0, unique: false },
            "[]",
            "Calls that go wrong.",
        ),
        optional(
            "power_w",
            Kind::Number { min: 0.0, max: 1e5, above: true, below: false },
            "Power drawn while a phase runs, in watts; no sensor if not given.",
        ),
        optional("max_resident", whole(1, 1000), "Most sessions loaded at once; no limit if not given."),
        default(
            "pace",
            words(&["virtual", "real"]),
            "virtual",
            "virtual: calls end at once, on a clock of their own; real: they take their time. \
             Backends on a virtual clock cannot be measured beside others.",
        ),
    ],
};

const LAW: Section = Section {
    what: "a latency law `base × (params in millions) ^ exponent`",
    choice: None,
    fields: &[
        required("base", Kind::Duration, "Time at one million parameters."),
        required("exponent", number(-4.0, 4.0), "The slope that a power-law fit must find."),
    ],
};

const FAULT: Section = Section {
    what: "a fault",
    choice: None,
    fields: &[
        required("kind", words(&["error", "timeout", "oom", "crashed", "early_stop", "load"]), "What goes wrong."),
        optional("model", Kind::Name, "Only calls, or loads, of this model."),
        optional("scenario", Kind::Name, "Only calls of this scenario."),
        required(
            "every",
            whole(1, 1_000_000),
            "Every how many-th matching call, counted from 1 over the run; of loads, counted per process.",
        ),
    ],
};

const SKIP: Section = Section {
    what: "a skip rule",
    choice: None,
    fields: &[
        optional("model", Kind::Name, "Name of a model."),
        optional("backend", Kind::Name, "Name of a backend."),
        optional("scenario", Kind::Name, "Name of a scenario."),
        required("reason", Kind::Text, "Why, printed with every skipped cell."),
    ],
};

const LIMITS: Section = Section {
    what: "limits",
    choice: None,
    fields: &[
        default(
            "degraded_rate",
            number(0.0, 1.0),
            "0.05",
            "Largest share of degraded calls before exit code 3; calls that ended early and were made again aside.",
        ),
        optional(
            "memory",
            Kind::Bytes,
            "Memory that resident sessions may take together; half of the machine's if not given.",
        ),
    ],
};
