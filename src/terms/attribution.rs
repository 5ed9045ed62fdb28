//! Where work ran, and what proves it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What proves where the work ran.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribution {
    /// What the scenario asked for, e.g. `CUDAExecutionProvider`.
    pub requested: String,
    /// What ran. `None`: nothing proves it, the row is `unattributed` and kept out of rankings.
    pub actual: Option<String>,
    /// The proof.
    pub evidence: Evidence,
}

impl Attribution {
    /// The device that work is proven to have run on: the processor (`None` inside), or a GPU by its number. `None`:
    /// nothing proves it, or it was divided between both.
    #[must_use]
    pub fn device(&self) -> Option<Option<u32>> {
        device_of(self.actual.as_deref()?)
    }

    /// Whether something proves where the work ran: a claim without any evidence proves nothing.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.actual.is_some() && !self.evidence.is_empty()
    }

    /// How what ran contradicts what was asked for: the processor for a GPU, a GPU for the processor, or another GPU where
    /// both are numbered. `None`: it does not, or either names no device.
    #[must_use]
    pub fn elsewhere(&self) -> Option<String> {
        let (asked, ran) = (device_of(&self.requested)?, self.device()?);
        let numbered = |name: &str| name.to_ascii_lowercase().contains("cuda:");
        let actual = self.actual.as_deref()?;
        let other_board = numbered(&self.requested) && numbered(actual) && asked != ran;
        let other_kind = asked.is_some() != ran.is_some();
        (other_kind || other_board).then(|| format!("{} was asked for, and {actual} ran", self.requested))
    }

    /// The number under which CUDA knows the GPU: from what ran, else from the evidence `device`. `None`: nothing tells it.
    #[must_use]
    pub fn cuda_number(&self) -> Option<u32> {
        let of = |told: &String| told.to_ascii_lowercase().rsplit_once("cuda:").and_then(|(_, n)| n.parse().ok());
        self.actual.as_ref().and_then(of).or_else(|| self.evidence.device.as_ref().and_then(of))
    }
}

/// The device that an engine's words name: the processor (`None` inside), or a GPU by its number. `None`: neither, or both.
#[must_use]
pub fn device_of(words: &str) -> Option<Option<u32>> {
    let words = words.to_ascii_lowercase();
    let on_gpu = ["cuda", "gpu", "tensorrt"];
    let (cpu, gpu) = (words.contains("cpu"), on_gpu.iter().any(|name| words.contains(name)));
    let number = || words.rsplit_once("cuda:").and_then(|(_, number)| number.parse().ok()).unwrap_or(0);
    match (cpu, gpu) {
        (true, false) => Some(None),
        (false, true) => Some(Some(number())),
        _ => None,
    }
}

/// What proves where work ran: by name, as text, for it is the engine's to say. What the program itself goes by has a field.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Evidence {
    /// `device`: the device by the engine's own name for it, e.g. `cuda:1`. `None`: not told.
    pub device: Option<String>,
    /// `device.uuid`: what tells the board from others. `None`: not told.
    pub device_uuid: Option<String>,
    /// `off_provider_ops`: operators that compute and were placed elsewhere than was asked for. `None`: none was.
    pub off_provider_ops: Option<String>,
    /// Everything else, which is only shown, e.g. `nodes.CPUExecutionProvider` → `110`.
    pub shown: BTreeMap<String, String>,
}

impl Evidence {
    const DEVICE: &'static str = "device";
    const DEVICE_UUID: &'static str = "device.uuid";
    const OFF_PROVIDER_OPS: &'static str = "off_provider_ops";

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let told = [&self.device, &self.device_uuid, &self.off_provider_ops];
        self.shown.is_empty() && told.into_iter().all(Option::is_none)
    }

    /// All of it by name.
    #[must_use]
    pub fn texts(&self) -> BTreeMap<&str, &str> {
        let named = [
            (Self::DEVICE, &self.device),
            (Self::DEVICE_UUID, &self.device_uuid),
            (Self::OFF_PROVIDER_OPS, &self.off_provider_ops),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        named.chain(self.shown.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect()
    }
}

impl From<BTreeMap<String, String>> for Evidence {
    fn from(mut texts: BTreeMap<String, String>) -> Self {
        Self {
            device: texts.remove(Self::DEVICE),
            device_uuid: texts.remove(Self::DEVICE_UUID),
            off_provider_ops: texts.remove(Self::OFF_PROVIDER_OPS),
            shown: texts,
        }
    }
}

impl From<Evidence> for BTreeMap<String, String> {
    fn from(evidence: Evidence) -> Self {
        evidence.texts().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn files_keep_all_of_it_by_name() {
        let text =
            r#"{"device":"cuda:1","device.uuid":"GPU-7","nodes.CPU":"110","off_provider_ops":"Add×2","zero":""}"#;
        let evidence: Evidence = serde_json::from_str(text).unwrap();
        assert_eq!((evidence.device.as_deref(), evidence.device_uuid.as_deref()), (Some("cuda:1"), Some("GPU-7")));
        assert_eq!(evidence.off_provider_ops.as_deref(), Some("Add×2"));
        assert_eq!(evidence.shown.len(), 2);
        assert_eq!(serde_json::to_string(&evidence).unwrap(), text);
    }

    fn claim(requested: &str, actual: Option<&str>, evidence: &[(&str, &str)]) -> Attribution {
        let texts: BTreeMap<String, String> = evidence.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        Attribution { requested: requested.to_owned(), actual: actual.map(str::to_owned), evidence: texts.into() }
    }

    #[test]
    fn a_claim_without_evidence_proves_nothing() {
        assert!(!claim("cpu", Some("cpu"), &[]).is_proven());
        assert!(!claim("cpu", None, &[("threads", "2")]).is_proven());
        assert!(claim("cpu", Some("cpu"), &[("parameters.device", "cpu")]).is_proven());
    }

    #[test]
    fn another_device_than_was_asked_for_is_told() {
        for (requested, actual) in [
            ("cpu", "cuda:0"),
            ("cuda:0", "cpu"),
            ("cuda:0", "cuda:1"),
            ("CUDAExecutionProvider", "CPUExecutionProvider"),
            ("TensorrtExecutionProvider", "CPUExecutionProvider"),
        ] {
            let told = claim(requested, Some(actual), &[]).elsewhere();
            assert_eq!(told.unwrap(), format!("{requested} was asked for, and {actual} ran"));
        }
        for (requested, actual) in [
            ("cpu", Some("cpu")),
            ("cuda", Some("cuda:1")),
            ("any", Some("cuda:1")),
            ("cpu", None),
            ("cuda:1", Some("cuda:1")),
            ("CPUExecutionProvider", Some("CPUExecutionProvider")),
        ] {
            assert_eq!(claim(requested, actual, &[]).elsewhere(), None, "{requested} {actual:?}");
        }
    }
}
