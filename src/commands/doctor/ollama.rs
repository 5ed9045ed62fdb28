//! Ollama servers: whether they answer, what their clock is, what nobody tells about them, and which models they have.

use std::path::Path;
use std::sync::Arc;

use super::finding::{Finding, Kind};
use crate::backend::http::Client;
use crate::backend::ollama::OllamaBackend;
use crate::backend::ollama::manage::{Server, how_to_serve, what_helps};
use crate::backend::ollama::version;
use crate::backend::{Backend, BackendError, CancelToken, Description, Surroundings};
use crate::clock::RealClock;
use crate::model::Form;
use crate::scenario::{OllamaSettings, ScenarioFile};

const NAME: &str = "ollama";

/// Settings that change what is measured and that no request tells.
const SETTINGS: [(&str, &str); 5] = [
    ("OLLAMA_FLASH_ATTENTION", "flash attention"),
    ("OLLAMA_KV_CACHE_TYPE", "KV cache type"),
    ("OLLAMA_NUM_PARALLEL", "parallel requests"),
    ("OLLAMA_MAX_LOADED_MODELS", "models kept loaded"),
    ("LLAMA_ARG_CACHE_RAM", "prompt cache in host memory"),
];

/// The servers of a scenario file, and whether they have its models.
pub fn of_scenario(file: &ScenarioFile, cache: &Path) -> Vec<Finding> {
    let served: Vec<String> = file
        .models
        .iter()
        .filter_map(|model| match &model.form {
            Form::Served(name) => Some(name.clone()),
            Form::Synthetic(_) | Form::Folder(_) => None,
        })
        .collect();
    let mut urls: Vec<&str> = Vec::new();
    for backend in &file.backends {
        if let Some(ollama) = backend.engine.as_ollama()
            && !urls.contains(&ollama.url.as_str())
        {
            urls.push(&ollama.url);
        }
    }
    urls.iter().flat_map(|url| at(url, cache, &served)).collect()
}

/// One server, and whether it has these models.
pub fn at(url: &str, cache: &Path, models: &[String]) -> Vec<Finding> {
    let settings = OllamaSettings { url: url.to_owned(), ..OllamaSettings::default() };
    let surroundings = Surroundings::new(Arc::new(RealClock::default()), cache.to_owned(), 0);
    let described = OllamaBackend::new(NAME, settings, surroundings).describe();
    let mut findings = vec![match &described {
        Ok(description) => server(url, description),
        Err(BackendError::Unavailable { what, fix, .. }) => {
            Finding::missing(Kind::Backend, NAME, what.clone(), Some(fix.clone()))
        }
        Err(error) => Finding::missing(Kind::Backend, NAME, error.to_string(), None),
    }];
    if described.is_ok() {
        findings.extend(models.iter().map(|name| model(url, name)));
    }
    findings
}

/// The server's version, its clock and its settings; and what would make its prefills easier to trust.
fn server(url: &str, description: &Description) -> Finding {
    let clock_of = description.server.as_ref().map_or("?", |server| server.clock.as_str());
    let set = description.server.as_ref().and_then(|server| server.settings.as_ref());
    let version = description.version.as_deref().unwrap_or("?");
    let setting = |(variable, name): &(&str, &str)| {
        let value = set.map_or("unknown", |set| set.get(*variable).map_or("as by default", String::as_str));
        format!("{name} {value}")
    };
    let settings = SETTINGS.iter().map(setting).collect::<Vec<_>>().join(", ");
    let kept = description.max_resident.map_or_else(String::new, |n| format!("; keeps up to {n} models loaded"));
    let clock = version::release(version).as_ref().and_then(version::clock);
    let blocked =
        clock.and_then(|clock| clock.blocklisted).map_or_else(String::new, |why| format!(", BLOCKLISTED: {why}"));
    let detail = format!("Ollama {version} at {url}, clock of {clock_of}{blocked}{kept}; {settings}");
    let cache_off = set.and_then(|set| set.get("LLAMA_ARG_CACHE_RAM")).is_some_and(|value| value == "0");
    let advise = clock.is_some_and(|clock| clock.host_prompt_cache) && !cache_off;
    let serve = how_to_serve(url);
    let fix = format!("LLAMA_ARG_CACHE_RAM=0 {serve}   (keeps no copies of earlier prompts beside the measurement)");
    Finding { fix: advise.then_some(fix), ..Finding::ready(Kind::Backend, NAME, detail) }
}

fn model(url: &str, name: &str) -> Finding {
    const KIND: Kind = Kind::Backend;
    let shown = Client::new("ollama", url, Arc::new(RealClock::default()))
        .map(|client| Server::new(Arc::new(client)).show(name, &CancelToken::default()));
    match shown {
        Ok(Ok(Some(shown))) => {
            let quantisation = shown.quantisation.unwrap_or_else(|| "?".to_owned());
            let params = shown.params.map_or_else(|| "?".to_owned(), |n| n.to_string());
            Finding::ready(KIND, "ollama model", format!("{name}: {params} parameters, {quantisation}"))
        }
        Ok(Ok(None)) => {
            let fix = format!("phasebench models pull {name} --url {url}");
            Finding::missing(KIND, "ollama model", format!("{name} is not on the server at {url}"), Some(fix))
        }
        Ok(Err(error)) => {
            Finding::missing(KIND, "ollama model", format!("{name}: {error}"), Some(what_helps(&error, url)))
        }
        Err(why) => Finding::missing(KIND, "ollama model", why, None),
    }
}
