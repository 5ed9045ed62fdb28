//! `/api/generate`: loading, unloading and generating.

use std::io;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::Pace;
use super::super::body::{CONTEXT_EXCEEDED, Metrics, context_exceeded, done_fields, fields, line};
use super::super::fault::Fault;
use super::super::http::Request;
use super::super::reply::{Reply, monotonic_ns};
use super::super::shared::lock;
use super::store::missing;
use super::{Choice, Loaded, PrefixCache, Scripted, State, full_name};

/// Options with which a model is loaded, besides `shift`.
const LOAD_OPTIONS: [&str; 6] = ["num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread"];

/// What a request asks for.
struct Asked {
    /// As the request says it; so replies name it too.
    model: String,
    prompt: String,
    body: Value,
}

impl Asked {
    fn option(&self, name: &str) -> &Value {
        &self.body["options"][name]
    }

    fn load_options(&self) -> Value {
        let mut options: Map<String, Value> =
            LOAD_OPTIONS.iter().map(|name| ((*name).to_owned(), self.option(name).clone())).collect();
        options.insert("shift".to_owned(), self.body["shift"].clone());
        Value::Object(options)
    }

    /// Whether the model is to leave after this request.
    fn unloads(&self) -> bool {
        match &self.body["keep_alive"] {
            Value::String(text) => text.trim_end_matches(|c: char| c.is_alphabetic()) == "0",
            other => other.as_f64() == Some(0.0),
        }
    }

    /// `None`: the request names no number. Zero is none, as for the real server.
    fn num_predict(&self) -> Option<u64> {
        self.option("num_predict").as_u64().filter(|tokens| *tokens > 0)
    }

    fn truncates(&self) -> bool {
        self.body["truncate"].as_bool().unwrap_or(true)
    }
}

/// A reply that is ready to be sent.
struct Generated {
    choices: Vec<Choice>,
    reason: &'static str,
    metrics: Metrics,
    /// From the request to the first token.
    first: Duration,
}

impl Scripted {
    pub(super) fn generate(&self, request: &Request, reply: &mut Reply) -> io::Result<()> {
        let Ok(body) = request.json() else { return reply.error(400, "unexpected EOF") };
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let asked = Asked { model: text("model"), prompt: text("prompt"), body };
        if asked.prompt.is_empty() {
            let fault = lock(&self.state).next_loads.pop_front();
            return match fault {
                Some(fault) => fault.play(request, reply),
                None => self.load_or_unload(&asked, reply),
            };
        }
        let (call, fault) = self.next_call();
        if let Some(fault) = fault {
            return fault.play(request, reply);
        }
        if asked.body["think"] == true {
            return reply.error(400, &format!("\"{}\" does not support thinking", asked.model));
        }
        match self.prepare(&asked, call) {
            Ok(generated) => {
                if asked.body["stream"] == false {
                    self.whole(&asked, &generated, reply)
                } else {
                    self.stream(&asked, &generated, reply)
                }?;
            }
            Err((status, text)) => return reply.error(status, &text),
        }
        if asked.unloads() {
            self.unload(&asked);
        }
        Ok(())
    }

    fn next_call(&self) -> (u64, Option<Fault>) {
        let mut state = lock(&self.state);
        let call = state.calls;
        state.calls += 1;
        let next = state.next_calls.pop_front();
        drop(state);
        (call, next.or_else(|| (self.script.go_wrong)(call)))
    }

    fn load_or_unload(&self, asked: &Asked, reply: &mut Reply) -> io::Result<()> {
        let reason = if asked.unloads() {
            if !lock(&self.state).models.contains_key(&full_name(&asked.model)) {
                return reply.error(404, &missing(&asked.model));
            }
            self.unload(asked);
            "unload"
        } else {
            let load = self.load(asked, &mut lock(&self.state));
            match load {
                Some(load) => self.pause(reply, load)?,
                None => return reply.error(404, &missing(&asked.model)),
            }
            "load"
        };
        reply.json(200, &Value::Object(done_fields(&asked.model, "", reason, &Metrics::default())))
    }

    fn unload(&self, asked: &Asked) {
        let name = full_name(&asked.model);
        let polls = self.script.polls_until_gone;
        let mut state = lock(&self.state);
        for loaded in state.loaded.iter_mut().filter(|loaded| loaded.name == name) {
            loaded.leaving = Some(polls);
        }
        if polls == 0 {
            state.loaded.retain(|loaded| loaded.name != name);
        }
    }

    /// Makes sure that the model is loaded with these options; returns how long that takes. `None`: no such model.
    fn load(&self, asked: &Asked, state: &mut State) -> Option<Duration> {
        let name = full_name(&asked.model);
        if !state.models.contains_key(&name) {
            return None;
        }
        let options = asked.load_options();
        let fits = |loaded: &Loaded| loaded.name == name && loaded.options == options && loaded.leaving.is_none();
        if state.loaded.iter().any(fits) {
            return Some(self.script.warm_load);
        }
        state.loaded.retain(|loaded| loaded.name != name);
        let context = asked.option("num_ctx").as_u64().unwrap_or(self.script.default_context);
        let vram_share = if *asked.option("num_gpu") == 0 { 0.0 } else { self.script.vram_share };
        state.loaded.push(Loaded { name, options, context, vram_share, prompts: Vec::new(), leaving: None });
        Some(self.script.load)
    }

    /// Decides what is answered: everything but the waiting.
    fn prepare(&self, asked: &Asked, call: u64) -> Result<Generated, (u16, String)> {
        let mut ids = (self.script.tokenize)(&asked.prompt);
        let mut state = lock(&self.state);
        let load = self.load(asked, &mut state).ok_or_else(|| (404, missing(&asked.model)))?;
        let name = full_name(&asked.model);
        let loaded = state.loaded.iter_mut().find(|loaded| loaded.name == name);
        let loaded = loaded.ok_or_else(|| (500, format!("{name} is not loaded")))?;
        let context = loaded.context;
        if ids.len() as u64 >= context {
            if !asked.truncates() {
                let new = || context_exceeded(ids.len() as u64, context);
                return Err((400, if self.is_new() { new() } else { CONTEXT_EXCEEDED.to_owned() }));
            }
            // The old engine fills the context, the new one halves what is not kept.
            ids.truncate(usize::try_from(if self.is_new() { context / 2 } else { context }).unwrap_or(usize::MAX));
        }
        let prompt_count = ids.len() as u64;
        // The last token is always evaluated: its logits are needed.
        let cached = self.cached(loaded, &ids).min(prompt_count.saturating_sub(1));
        loaded.prompts.push(ids.clone());
        drop(state);

        // The old engine counts a token whose place in the context is never used.
        let room = (context + u64::from(!self.is_new())).saturating_sub(prompt_count).max(1);
        let wanted = asked.num_predict().or(self.script.default_tokens).map_or(room, |wanted| wanted.min(room));
        let early = (self.script.stop_early)(call).filter(|stop| *stop < wanted).map(|stop| stop.max(1));
        let eval_count = early.unwrap_or(wanted);
        let steps = eval_count - 1;
        let prompt_time = times(self.script.prefill_per_token, prompt_count - cached);
        let eval_time = times(self.script.step, steps);
        let first = self.script.outside + load + prompt_time;
        // A single token has no step to time: the old engine says nothing, the new one a microsecond.
        let eval_ns = if steps == 0 && self.is_new() { 1000 } else { nanos(eval_time) };
        let (total_ns, load_ns, prompt_ns) = (nanos(first + eval_time), nanos(load), nanos(prompt_time));
        // The token that ends a text has no text.
        let choices =
            (0..if early.is_some() { steps } else { eval_count }).map(|step| (self.script.choose)(&ids, step));
        Ok(Generated {
            choices: choices.collect(),
            reason: if early.is_some() { "stop" } else { "length" },
            metrics: Metrics { total_ns, load_ns, prompt_count, prompt_ns, eval_count, eval_ns },
            first,
        })
    }

    /// Leading tokens that an earlier prompt has left behind.
    fn cached(&self, loaded: &Loaded, ids: &[u32]) -> u64 {
        let remembered = match self.script.prefix_cache {
            PrefixCache::Off => &[],
            PrefixCache::LastPrompt => &loaded.prompts[loaded.prompts.len().saturating_sub(1)..],
            PrefixCache::EveryPrompt => &loaded.prompts[..],
        };
        let shared = |known: &Vec<u32>| known.iter().zip(ids).take_while(|(a, b)| a == b).count() as u64;
        remembered.iter().map(shared).max().unwrap_or(0)
    }

    fn stream(&self, asked: &Asked, generated: &Generated, reply: &mut Reply) -> io::Result<()> {
        reply.stream_head();
        let mut first_ns = None;
        for (step, choice) in (0..).zip(&generated.choices) {
            let mut fields = fields(&asked.model, &choice.text, false);
            if asked.body["logprobs"] == true {
                fields.insert("logprobs".to_owned(), json!([logprobs(choice, asked)]));
            }
            let text = line(fields);
            self.pause(reply, generated.first + times(self.script.step, step))?;
            first_ns.get_or_insert_with(monotonic_ns);
            reply.line(&text)?;
        }
        let metrics = &generated.metrics;
        let mut last = done_fields(&asked.model, "", generated.reason, metrics);
        self.pause(reply, generated.first + times(self.script.step, metrics.eval_count - 1))?;
        if self.script.stamped {
            let last_ns = monotonic_ns();
            last.insert("standin_first_ns".to_owned(), json!(first_ns.unwrap_or(last_ns)));
            last.insert("standin_last_ns".to_owned(), json!(last_ns));
        }
        reply.line(&line(last))?;
        reply.end()
    }

    fn whole(&self, asked: &Asked, generated: &Generated, reply: &mut Reply) -> io::Result<()> {
        self.pause(reply, Duration::from_nanos(generated.metrics.total_ns))?;
        let text: String = generated.choices.iter().map(|choice| choice.text.as_str()).collect();
        let mut fields = done_fields(&asked.model, &text, generated.reason, &generated.metrics);
        if asked.body["logprobs"] == true {
            let all: Vec<Value> = generated.choices.iter().map(|choice| logprobs(choice, asked)).collect();
            fields.insert("logprobs".to_owned(), json!(all));
        }
        reply.json(200, &Value::Object(fields))
    }

    fn pause(&self, reply: &Reply, since_start: Duration) -> io::Result<()> {
        match self.script.pace {
            Pace::Kept => reply.wait(since_start),
            Pace::AtOnce => Ok(()),
        }
    }
}

fn logprobs(choice: &Choice, asked: &Asked) -> Value {
    let entry = |text: &str, logprob: f64| json!({ "token": text, "logprob": logprob, "bytes": text.as_bytes() });
    let wanted = asked.body["top_logprobs"].as_u64().unwrap_or(0);
    let mut entry_of_choice = entry(&choice.text, choice.logprob);
    if wanted > 0 {
        let top = choice.top.iter().zip(0..wanted).map(|((text, logprob), _)| entry(text, *logprob));
        entry_of_choice["top_logprobs"] = top.collect();
    }
    entry_of_choice
}

fn times(step: Duration, count: u64) -> Duration {
    Duration::from_nanos(nanos(step).saturating_mul(count))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
