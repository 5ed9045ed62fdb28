//! One thing that is there or not.

use std::borrow::Cow;

use serde::Serialize;

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

    pub(super) fn missing(kind: Kind, name: impl Into<Cow<'static, str>>, detail: String, fix: Option<String>) -> Self {
        Self { kind, name: name.into(), ready: false, detail, fix }
    }
}
