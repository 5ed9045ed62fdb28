//! Makes text fit to publish: no user name, host name, private folder or password survives.

use std::path::{Path, PathBuf};

use crate::secret::without_passwords;

/// Folders whose names say nothing of the machine's owner.
const PUBLIC: [&str; 5] = ["/usr", "/lib", "/lib64", "/opt", "/etc"];

/// Knows which folders are private on this machine.
#[derive(Debug, Clone)]
pub struct Redactor {
    cache: PathBuf,
    home: Option<PathBuf>,
}

impl Redactor {
    /// For this machine and user.
    #[must_use]
    pub fn here() -> Self {
        Self { cache: crate::cache::root(), home: dirs::home_dir().filter(|home| home.parent().is_some()) }
    }

    /// A path: below the cache as `<cache>/…` in full, below a system folder as it is, elsewhere its last name only.
    #[must_use]
    pub fn path(&self, path: &Path) -> String {
        if let Ok(rest) = path.strip_prefix(&self.cache) {
            return format!("<cache>/{}", rest.display());
        }
        let home = self.home.as_ref().is_some_and(|home| path.starts_with(home));
        if path.is_relative() || (!home && PUBLIC.iter().any(|public| path.starts_with(public))) {
            return path.display().to_string();
        }
        let name = path.file_name().map(|name| name.to_string_lossy());
        let start = if home { "~" } else { "" };
        format!("{start}/…/{}", name.unwrap_or_default())
    }

    /// A text: what is a path as a whole, or a word that begins like one, is treated as [`Redactor::path`] does. An
    /// address is none.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let text = &*without_passwords(text);
        if text.starts_with('/') {
            return self.path(Path::new(text));
        }
        let words = text.split(' ').map(|word| {
            if word.contains("http://") || word.contains("https://") {
                return word.to_owned();
            }
            let start = word.find('/').filter(|&at| word[..at].ends_with(['=', ':', '(', '"', '\'']) || at == 0);
            match start {
                Some(at) => format!("{}{}", &word[..at], self.path(Path::new(&word[at..]))),
                None => word.to_owned(),
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_paths_lose_all_but_their_last_name() {
        let redactor =
            Redactor { cache: PathBuf::from("/home/ada/.cache/phasebench"), home: Some(PathBuf::from("/home/ada")) };
        for (text, published) in [
            ("/home/ada/.cache/phasebench/onnxruntime/1/lib.so", "<cache>/onnxruntime/1/lib.so"),
            ("/home/ada/work/my lib.so", "~/…/my lib.so"),
            ("/usr/lib/libonnxruntime.so.1", "/usr/lib/libonnxruntime.so.1"),
            ("/mnt/secret/lib.so", "/…/lib.so"),
            ("path=/mnt/secret/lib.so threads=2", "path=/…/lib.so threads=2"),
            ("git-branch=HEAD, build type=Release", "git-branch=HEAD, build type=Release"),
            ("tokens/s and 1/2", "tokens/s and 1/2"),
            ("Ollama at http://127.0.0.1:11434, ready", "Ollama at http://127.0.0.1:11434, ready"),
        ] {
            assert_eq!(redactor.text(text), published);
        }
    }

    #[test]
    fn a_home_inside_a_system_folder_is_still_private() {
        let redactor = Redactor { cache: PathBuf::from("/nowhere"), home: Some(PathBuf::from("/usr/people/ada")) };
        assert_eq!(redactor.text("/usr/people/ada/lib.so"), "~/…/lib.so");
    }
}
