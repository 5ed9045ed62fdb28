//! The scenario file's format as data: every key with its kind, range, default and meaning.
//!
//! The one table that [`super::check`] checks a file against and [`super::schema()`] turns into a JSON Schema,
//! so that the two cannot drift apart. An engine's own keys are in its file below [`super::engine`].

use super::engine::ENGINES;
use super::section::{Choice, Field, Kind, Section, TOKENS, default, number, optional, required, whole, words};

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
            "sessions",
            Kind::WholeOr { min: 1, max: MOST_SESSIONS, section: &SESSIONS },
            "1",
            "How many sessions a cell's timed calls are divided over, each a load of its own in a fresh engine process, spread \
             over the whole run. With one, what differs between processes stays unknown.",
        ),
        default(
            "early_stop",
            Kind::Section(&EARLY_STOP),
            "{}",
            "What is made of calls that an engine ends at a stop token before all decode steps were made.",
        ),
        default(
            "disturbed",
            Kind::Section(&DISTURBED),
            "{}",
            "What is made of timed calls that something outside disturbs: other programs' load, a hypervisor, a control \
             group's limit, heat of a board, a stop of the program or the engine. Their own latency never decides.",
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
        default(
            "reference",
            Kind::Section(&REFERENCE),
            "{}",
            "How often the machine's own speed is measured beside the calls, by kernels that use nothing of any engine.",
        ),
        optional(
            "telemetry",
            Kind::Section(&TELEMETRY),
            "Records power beside the calls, where this machine has a sensor. Left out: no power is recorded.",
        ),
        optional(
            "workload",
            Kind::Path,
            "Workload file, relative to this file: what the run is decided and priced for unless the command names another. Its \
             counts are kept in the run.",
        ),
        optional(
            "claims",
            Kind::Path,
            "Claims file, relative to this file: what the run is held against in place of what published reports conclude, \
             unless the command names another. Kept in the run.",
        ),
    ],
};

const REFERENCE: Section = Section {
    what: "reference",
    choice: None,
    fields: &[
        default(
            "every",
            Kind::DurationOrNone,
            "30s",
            "Longest time between two measurements, as far as `share` allows; the first one is made before the first \
             load, or in a run too short for that as soon as `share` allows. 0s: never.",
        ),
        default(
            "share",
            Kind::Number { min: 0.0, max: 0.2, above: false, below: false },
            "0.02",
            "Largest share of the run's time that they may take.",
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
        fields: &[required("fixed", whole(1, 1_000_000), "Always this many timed calls per cell.")],
    },
    Section {
        what: "adaptive repetitions",
        choice: None,
        fields: &[
            default(
                "min",
                whole(3, 1_000_000),
                "3",
                "Fewest timed calls per cell. No cell stops before 8 calls, unless `max` is less.",
            ),
            default("max", whole(3, 1_000_000), "30", "Most timed calls per cell."),
            default(
                "until_relative_ci",
                Kind::Number { min: 0.0, max: 0.5, above: true, below: false },
                "0.02",
                "Stop a cell once the 95 % interval's half-width is at most this share of the estimate, in every timed mode.",
            ),
        ],
    },
];

const MOST_SESSIONS: u64 = 1000;

const SESSIONS: Section = Section {
    what: "adaptive sessions",
    choice: None,
    fields: &[
        default("min", whole(2, MOST_SESSIONS), "3", "Fewest sessions of a cell."),
        default(
            "max",
            whole(2, MOST_SESSIONS),
            "10",
            "Most sessions of a cell; it goes on until its interval from sessions is narrow enough, as `repetitions` says.",
        ),
    ],
};

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

const DISTURBED: Section = Section {
    what: "a rule for disturbed calls",
    choice: None,
    fields: &[
        default(
            "retry",
            whole(0, 10),
            "1",
            "How often a disturbed call is made again. Every try is recorded, and the last one counts. 0: never.",
        ),
        default(
            "foreign_cpu",
            Kind::Number { min: 0.0, max: 1.0, above: true, below: false },
            "0.1",
            "Share of all processors' time above which other programs' work disturbs.",
        ),
        default(
            "wait_quiet",
            Kind::DurationOrNone,
            "10s",
            "How long a quiet machine is waited for before a timed call; after a wait in vain not again before ten times \
             as long has passed. 0s: never.",
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
            required("file", Kind::Path, "Text file, relative to the scenario file."),
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
        optional("vocab", WIDTH, "Vocabulary; 50257 if not given."),
        optional("n_positions", WIDTH, "Longest context in tokens; 1024 if not given."),
        optional("dtype", words(&["f32", "f16", "bf16"]), "Stored element type; f32 if not given."),
        optional("seed", whole(0, i64::MAX as u64), "Seed of the weights."),
    ],
};

/// What every backend says besides its engine.
const BACKEND_KEYS: [Field; 2] = [
    required("name", Kind::Name, "Its name, unique in the file."),
    optional("warmups", WARMUPS, "Warmup calls per cell and load, instead of the file's."),
];

const BACKEND: Section =
    Section { what: "a backend", choice: Some(Choice { what: "engine", keys: &ENGINE_KEYS }), fields: &BACKEND_FIELDS };

const ENGINE_KEYS: [&str; ENGINES.len()] = {
    let mut keys = [""; ENGINES.len()];
    let mut i = 0;
    while i < ENGINES.len() {
        keys[i] = ENGINES[i].key;
        i += 1;
    }
    keys
};

/// The keys of every backend, then one for each engine.
const BACKEND_FIELDS: [Field; BACKEND_KEYS.len() + ENGINES.len()] = {
    let mut fields = [BACKEND_KEYS[0]; BACKEND_KEYS.len() + ENGINES.len()];
    let mut i = 1;
    while i < fields.len() {
        fields[i] = if i < BACKEND_KEYS.len() {
            BACKEND_KEYS[i]
        } else {
            let engine = ENGINES[i - BACKEND_KEYS.len()];
            optional(engine.key, Kind::Section(engine.section), engine.doc)
        };
        i += 1;
    }
    fields
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
