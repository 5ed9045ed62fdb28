//! Makes text fit to publish: no user name, host name, private folder or password survives.

use std::path::{Path, PathBuf};

use crate::secret::without_passwords;

/// Folders whose names say nothing of the machine's owner.
const PUBLIC: [&str; 8] = ["/usr", "/bin", "/lib", "/lib64", "/opt", "/etc", "/proc/sys", "/sys"];

/// What stands before a path inside a word.
const BEFORE_A_PATH: [char; 9] = ['=', ':', '(', '"', '\'', '`', ',', '[', '\n'];

/// How the path of a server's address begins: nobody's folder.
const OF_A_SERVER: &str = "/api/";

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

    /// The cache folder itself: where it is by default, as that; elsewhere its last name only.
    #[must_use]
    pub fn cache_folder(&self) -> String {
        let name = self.cache.file_name().unwrap_or_default().to_string_lossy();
        match self.home.as_ref().and_then(|home| self.cache.strip_prefix(home).ok()) {
            Some(below) if below == Path::new(".cache/phasebench") => "~/.cache/phasebench".to_owned(),
            Some(_) => format!("~/…/{name}"),
            None => format!("/…/{name}"),
        }
    }

    /// A text: a path that it is, or begins with up to a colon, and a word that begins like one, are treated as
    /// [`Redactor::path`] does. An address is none, and neither is the path of one.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let text = &*without_passwords(text);
        let (begin, more) = text.split_once(": ").map_or((text, None), |(begin, more)| (begin, Some(more)));
        if !is_a_path(begin) {
            return self.words(text);
        }
        let path = self.path(Path::new(begin));
        more.map_or_else(|| path.clone(), |more| format!("{path}: {}", self.words(more)))
    }

    fn words(&self, text: &str) -> String {
        text.split(' ').map(|word| self.word(word)).collect::<Vec<_>>().join(" ")
    }

    fn word(&self, word: &str) -> String {
        if word.contains("http://") || word.contains("https://") {
            return word.to_owned();
        }
        let begin = word.find('/').filter(|&at| at == 0 || word[..at].ends_with(BEFORE_A_PATH));
        match begin {
            Some(at) if !word[at..].starts_with(OF_A_SERVER) => {
                format!("{}{}", &word[..at], self.path(Path::new(&word[at..])))
            }
            Some(_) | None => word.to_owned(),
        }
    }
}

/// Whether a text is a path as a whole, whose folders may have spaces in their names. A server's words begin with what was asked for,
/// as `/api/tags: HTTP 401: …` does.
fn is_a_path(text: &str) -> bool {
    text.starts_with('/') && !text.starts_with(OF_A_SERVER) && !text.contains("://")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn private_paths_lose_all_but_their_last_name() {
        let redactor =
            Redactor { cache: PathBuf::from("/home/ada/.cache/phasebench"), home: Some(PathBuf::from("/home/ada")) };
        for (text, published) in [
            ("/home/ada/.cache/phasebench/onnxruntime/1/lib.so", "<cache>/onnxruntime/1/lib.so"),
            ("/home/ada/my work/my lib.so", "~/…/my lib.so"),
            ("/srv/Client Ltd/lib.so: cannot open", "/…/lib.so: cannot open"),
            ("/dev/shm/client/lib.so", "/…/lib.so"),
            ("/usr/lib/libonnxruntime.so.1", "/usr/lib/libonnxruntime.so.1"),
            ("/mnt/secret/lib.so", "/…/lib.so"),
            ("chmod a+r /sys/class/powercap/*/energy_uj", "chmod a+r /sys/class/powercap/*/energy_uj"),
            ("path=/mnt/secret/lib.so threads=2", "path=/…/lib.so threads=2"),
            ("git-branch=HEAD, build type=Release", "git-branch=HEAD, build type=Release"),
            ("tokens/s and 1/2", "tokens/s and 1/2"),
            ("Ollama at http://127.0.0.1:11434, ready", "Ollama at http://127.0.0.1:11434, ready"),
            ("unix:/mnt/secret/worker.sock: no such file", "unix:/…/worker.sock: no such file"),
            ("no library in `/home/ada/work/ort`", "no library in `~/…/ort`"),
        ] {
            assert_eq!(redactor.text(text), published);
        }
    }

    #[test]
    fn the_words_of_a_server_stay() {
        let redactor = Redactor { cache: PathBuf::from("/nowhere"), home: None };
        for said in [
            "/api/version: HTTP 401: no key: get one at https://example.com/settings/keys and set it",
            "/api/tags",
            "ollama: /api/show: HTTP 503",
            "asked for `/api/tags`",
        ] {
            assert_eq!(redactor.text(said), said);
        }
        let said = "/mnt/secret/ort.so: cannot open shared object file: see https://example.com/a/b for more";
        let published = "/…/ort.so: cannot open shared object file: see https://example.com/a/b for more";
        assert_eq!(redactor.text(said), published);
    }

    /// A path with spaces is one where it is there.
    #[test]
    fn folders_with_spaces_in_their_names_are_private_too() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("a client's name");
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("my lib.so");
        std::fs::write(&file, "").unwrap();
        let redactor = Redactor { cache: PathBuf::from("/nowhere"), home: None };
        assert_eq!(redactor.text(&file.display().to_string()), "/…/my lib.so");
    }

    #[test]
    fn a_home_inside_a_system_folder_is_still_private() {
        let redactor = Redactor { cache: PathBuf::from("/nowhere"), home: Some(PathBuf::from("/usr/people/ada")) };
        assert_eq!(redactor.text("/usr/people/ada/lib.so"), "~/…/lib.so");
    }
}
