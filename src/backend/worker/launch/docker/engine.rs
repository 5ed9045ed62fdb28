//! Which Docker engine is asked: `DOCKER_HOST`, else the context in use, else the system's socket.

use std::path::{Path, PathBuf};

use bollard::Docker;
use serde_json::Value;

/// Where the system's engine listens.
const SYSTEM: &str = "unix:///var/run/docker.sock";

/// Longest wait for the first byte of an answer. Unit: seconds.
const ANSWERS_WITHIN: u64 = 120;

/// Why no engine can be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The context in use cannot be read.
    #[error("docker context `{name}`: {why}")]
    Context {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A kind of address that is not spoken here.
    #[error("docker engine at {host}: only unix:// and tcp:// without TLS are supported")]
    Scheme {
        /// The address.
        host: String,
    },
    /// Users inside its containers are others outside, so that none may enter a worker's private folder.
    #[error(
        "docker engine at {host} {how}: users in its containers are not this machine's, and reach no worker's folder"
    )]
    Remapped {
        /// The address.
        host: String,
        /// What remaps them.
        how: &'static str,
    },
    /// It runs on another machine, or sees other folders.
    #[error("docker engine at {host} does not see this machine's folders: {why}")]
    Elsewhere {
        /// The address.
        host: String,
        /// Its words.
        why: String,
    },
    /// Nobody answers.
    #[error("docker engine at {host} cannot be reached: {why}")]
    Unreachable {
        /// The address.
        host: String,
        /// The transport's words.
        why: String,
    },
}

impl EngineError {
    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::Context { .. } => "docker context use default   (or set DOCKER_HOST)".to_owned(),
            Self::Scheme { .. } => {
                "DOCKER_HOST=unix:///path/to/docker.sock   (an engine on this machine, such as a forwarded one)"
                    .to_owned()
            }
            Self::Remapped { .. } => {
                "DOCKER_HOST=unix:///var/run/docker.sock   (an engine of root's without userns-remap)\n  \
                 or without Docker: launch: process"
                    .to_owned()
            }
            Self::Elsewhere { .. } => "DOCKER_HOST=unix:///var/run/docker.sock   (an engine on this machine)\n  \
                 or without Docker: launch: process"
                .to_owned(),
            Self::Unreachable { .. } => "sudo systemctl start docker   (and be in the group docker)\n  \
                 or set DOCKER_HOST to an engine that runs; in a checkout: eval \"$(scripts/docker-engine start)\""
                .to_owned(),
        }
    }
}

/// An engine that has answered.
#[derive(Debug, Clone)]
pub struct DockerEngine {
    /// Its client; both agree on the API's version.
    pub docker: Docker,
    /// Its address.
    pub host: String,
    /// Its version, by its own words.
    pub version: String,
    /// Version of the API that is spoken.
    pub api: String,
}

/// Finds the engine and asks for its version.
///
/// # Errors
/// See [`EngineError`].
pub async fn connect() -> Result<DockerEngine, EngineError> {
    let configuration = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| dirs::home_dir().map(|home| home.join(".docker")))
        .unwrap_or_default();
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = address(variable("DOCKER_HOST"), variable("DOCKER_CONTEXT"), &configuration)?;
    connect_to(&host).await
}

/// Asks the engine at an address for its version.
///
/// # Errors
/// See [`EngineError`].
pub async fn connect_to(host: &str) -> Result<DockerEngine, EngineError> {
    let unreachable =
        |error: bollard::errors::Error| EngineError::Unreachable { host: host.to_owned(), why: error_text(&error) };
    let version = bollard::API_DEFAULT_VERSION;
    let docker = match host.split_once("://") {
        Some(("unix", _)) => Docker::connect_with_unix(host, ANSWERS_WITHIN, version),
        Some(("tcp" | "http", _)) if std::env::var_os("DOCKER_TLS_VERIFY").is_none() => {
            Docker::connect_with_http(host, ANSWERS_WITHIN, version)
        }
        _ => return Err(EngineError::Scheme { host: host.to_owned() }),
    };
    let docker = docker.map_err(unreachable)?.negotiate_version().await.map_err(unreachable)?;
    let answer = docker.version().await.map_err(unreachable)?;
    let api = docker.client_version().to_string();
    Ok(DockerEngine { docker, host: host.to_owned(), version: answer.version.unwrap_or_default(), api })
}

impl DockerEngine {
    /// Whether a worker's folder can be given to a container of it, as far as the engine tells.
    ///
    /// # Errors
    /// [`EngineError::Remapped`], or [`EngineError::Unreachable`] where it does not answer.
    pub async fn check_users(&self) -> Result<(), EngineError> {
        let info = self.docker.info().await;
        let info =
            info.map_err(|error| EngineError::Unreachable { host: self.host.clone(), why: error_text(&error) })?;
        match remapped(&info.security_options.unwrap_or_default()) {
            Some(how) => Err(EngineError::Remapped { host: self.host.clone(), how }),
            None => Ok(()),
        }
    }

    /// What a container could not be made for, where that is that the engine has not this machine's files.
    #[must_use]
    pub fn elsewhere(&self, why: &str) -> Option<EngineError> {
        let unseen = why.contains("bind source path does not exist");
        unseen.then(|| EngineError::Elsewhere { host: self.host.clone(), why: why.to_owned() })
    }
}

/// What makes users in containers others than outside; `options` as the engine lists them, e.g. `name=rootless`.
fn remapped(options: &[String]) -> Option<&'static str> {
    let has = |name: &str| options.iter().any(|option| option.split(',').any(|part| part == format!("name={name}")));
    if has("rootless") {
        Some("runs rootless")
    } else if has("userns") {
        Some("remaps users (userns-remap)")
    } else {
        None
    }
}

/// An error with what caused it, which the client's own message leaves out.
pub fn error_text(error: &bollard::errors::Error) -> String {
    if let bollard::errors::Error::DockerResponseServerError { message, .. } = error {
        return crate::backend::text::clean(message);
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    crate::backend::text::clean(&text)
}

/// The address that Docker's own client would take: the host variable, the context variable, the context in use.
fn address(host: Option<String>, context: Option<String>, configuration: &Path) -> Result<String, EngineError> {
    if let Some(host) = host {
        return Ok(host);
    }
    let chosen = || {
        let text = std::fs::read(configuration.join("config.json")).ok()?;
        let value: Value = serde_json::from_slice(&text).ok()?;
        value.get("currentContext")?.as_str().map(str::to_owned)
    };
    match context.or_else(chosen) {
        Some(name) if !name.is_empty() && name != "default" => of_context(&name, configuration),
        _ => Ok(SYSTEM.to_owned()),
    }
}

/// `contexts/meta/<sha256 of the name>/meta.json` holds a context's address.
fn of_context(name: &str, configuration: &Path) -> Result<String, EngineError> {
    let fault = |why: String| EngineError::Context { name: name.to_owned(), why };
    let folder = crate::hash::sha256_hex(name.as_bytes());
    let file = configuration.join("contexts/meta").join(folder).join("meta.json");
    let text = std::fs::read(&file).map_err(|error| fault(format!("cannot read {}: {error}", file.display())))?;
    let value: Value =
        serde_json::from_slice(&text).map_err(|error| fault(format!("{} is not JSON: {error}", file.display())))?;
    let host = value.pointer("/Endpoints/docker/Host").and_then(Value::as_str).unwrap_or_default();
    if host.is_empty() {
        return Err(fault(format!("{} names no Endpoints.docker.Host", file.display())));
    }
    Ok(host.to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn context(configuration: &Path, name: &str, meta: &str) {
        let folder = configuration.join("contexts/meta").join(crate::hash::sha256_hex(name.as_bytes()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("meta.json"), meta).unwrap();
    }

    #[test]
    fn the_variable_comes_before_the_context_and_the_context_before_the_system() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        assert_eq!(address(None, None, at).unwrap(), SYSTEM);
        context(at, "lab", r#"{"Name":"lab","Endpoints":{"docker":{"Host":"unix:///lab.sock"}}}"#);
        context(at, "other", r#"{"Name":"other","Endpoints":{"docker":{"Host":"tcp://127.0.0.1:1"}}}"#);
        assert_eq!(address(None, None, at).unwrap(), SYSTEM);
        std::fs::write(at.join("config.json"), r#"{"currentContext":"lab"}"#).unwrap();
        assert_eq!(address(None, None, at).unwrap(), "unix:///lab.sock");
        assert_eq!(address(None, Some("other".to_owned()), at).unwrap(), "tcp://127.0.0.1:1");
        assert_eq!(address(None, Some("default".to_owned()), at).unwrap(), SYSTEM);
        let host = Some("unix:///mine.sock".to_owned());
        assert_eq!(address(host, Some("other".to_owned()), at).unwrap(), "unix:///mine.sock");
    }

    #[test]
    fn a_context_that_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let asked = |name: &str| address(None, Some(name.to_owned()), at).unwrap_err().to_string();
        assert!(asked("gone").starts_with("docker context `gone`: cannot read "));
        context(at, "broken", "{");
        assert!(asked("broken").contains("is not JSON"));
        context(at, "empty", r#"{"Endpoints":{}}"#);
        assert!(asked("empty").contains("names no Endpoints.docker.Host"));
    }

    #[test]
    fn an_engine_that_remaps_users_is_told_from_others() {
        let of = |options: &[&str]| remapped(&options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["name=seccomp,profile=builtin", "name=cgroupns"]), None);
        assert_eq!(of(&["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]), Some("runs rootless"));
        assert_eq!(of(&["name=userns"]), Some("remaps users (userns-remap)"));
        assert_eq!(of(&["name=apparmor,label=rootless"]), None);
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_that_names_the_address() {
        let folder = tempfile::tempdir().unwrap();
        let host = format!("unix://{}", folder.path().join("none.sock").display());
        let error = connect_to(&host).await.unwrap_err();
        assert!(matches!(&error, EngineError::Unreachable { host: named, .. } if *named == host), "{error}");
        let error = connect_to("ssh://someone@else").await.unwrap_err();
        assert!(error.to_string().contains("only unix:// and tcp://"), "{error}");
    }
}
