//! One thing that is there or not.

use std::borrow::Cow;

use serde::Serialize;

use crate::backend::Description;
use crate::terms::Procedure;

/// One thing that is there or not.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) name: Cow<'static, str>,
    pub(super) ready: bool,
    pub(super) detail: String,
    /// The command that helps. `None`: nothing to do, or nothing that can be done.
    pub(super) fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Backend,
    Sensor,
    Tool,
}

impl Finding {
    pub(super) fn ready(kind: Kind, name: impl Into<Cow<'static, str>>, detail: String) -> Self {
        Self { kind, name: name.into(), ready: true, detail, fix: None }
    }

    /// A backend that is there, as it describes itself.
    pub(super) fn backend(name: impl Into<Cow<'static, str>>, description: &Description) -> Self {
        let mut text = description.engine.clone();
        if let Some(version) = &description.version {
            text = format!("{text} {version}");
        }
        if let Some(library) = &description.library {
            text = format!("{text}, {}, sha256 {}", library.path.display(), library.sha256);
        }
        if let Some(worker) = description.facts.get("worker") {
            let at = ["worker.address", "worker.launch"].iter().find_map(|fact| description.facts.get(*fact));
            text = format!("{text}, worker {worker}{}", at.map(|at| format!(" ({at})")).unwrap_or_default());
        }
        let lacking: Vec<&str> = Procedure::ALL
            .iter()
            .filter(|procedure| !description.procedures.contains(procedure))
            .map(|procedure| procedure.as_str())
            .collect();
        if !lacking.is_empty() {
            text = format!("{text}, does not offer {}: such cells are skipped", lacking.join(", "));
        }
        Self::ready(Kind::Backend, name, text)
    }

    pub(super) fn missing(kind: Kind, name: impl Into<Cow<'static, str>>, detail: String, fix: Option<String>) -> Self {
        Self { kind, name: name.into(), ready: false, detail, fix }
    }
}
