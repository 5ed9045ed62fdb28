//! The locked requirements, one by one.

use super::error::TorchError;

/// One package with its version and the hashes of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Name of the package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of every file that may be taken, in lowercase hexadecimal.
    pub hashes: Vec<String>,
    /// The whole requirement as pip reads it.
    pub text: String,
}

/// Reads a requirements file in which every line pins one package and its hashes.
///
/// # Errors
/// [`TorchError::Lock`] with the line that is something else.
pub fn parse(lock: &str) -> Result<Vec<Requirement>, TorchError> {
    let joined = lock.replace("\\\n", " ");
    let lines = joined.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(requirement).collect()
}

fn requirement(line: &str) -> Result<Requirement, TorchError> {
    let fault = || TorchError::Lock { line: line.chars().take(80).collect() };
    let (pin, hashes) = line.split_once("--hash=sha256:").ok_or_else(fault)?;
    // `name==version ; markers`
    let (name, version) = pin.split(';').next().unwrap_or_default().trim().split_once("==").ok_or_else(fault)?;
    let hashes: Vec<String> = hashes.split("--hash=sha256:").map(|hash| hash.trim().to_owned()).collect();
    let is_hash = |hash: &String| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    if name.starts_with('-') || !hashes.iter().all(is_hash) {
        return Err(fault());
    }
    Ok(Requirement { name: name.to_owned(), version: version.to_owned(), hashes, text: line.to_owned() })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::backend::worker::launch::package::REQUIREMENTS;

    #[test]
    fn our_lock_pins_torch_and_what_the_worker_imports() {
        let requirements = parse(REQUIREMENTS).unwrap();
        for name in ["torch", "transformers", "grpcio", "safetensors", "numpy"] {
            assert!(requirements.iter().any(|requirement| requirement.name == name), "{name}");
        }
    }

    #[test]
    fn lines_go_on_and_comments_do_not_count() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let lock = format!(
            "# made by\none==1.0 ; python_version < \"3.12\" \\\n  --hash=sha256:{a} \\\n  --hash=sha256:{b}\n    # via two\n\ntwo==2 --hash=sha256:{b}\n"
        );
        let found = parse(&lock).unwrap();
        assert_eq!((found[0].name.as_str(), found[0].version.as_str()), ("one", "1.0"));
        assert_eq!(found[0].hashes, [a, b.clone()]);
        assert_eq!((found[1].text.as_str(), found.len()), (format!("two==2 --hash=sha256:{b}").as_str(), 2));
    }

    #[test]
    fn whatever_is_not_pinned_is_refused() {
        for line in
            ["one==1.0", "one>=1.0 --hash=sha256:00", "--index-url=x==y --hash=sha256:00", "one==1 --hash=sha256:0g"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
