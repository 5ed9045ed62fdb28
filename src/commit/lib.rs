//! The commit that a program is built from, read where the program itself is compiled: a new commit links it again and
//! compiles none of its libraries. Works without git, and in an unpacked archive.

use std::path::{Path, PathBuf};
use std::process::Command;

use proc_macro::TokenStream;

/// What the program is made of, below its package's folder.
const SOURCES: [&str; 5] = ["src", "backends", "build.rs", "Cargo.toml", "Cargo.lock"];

/// The commit that the package at hand is built from, with `-modified` where its sources differ from it: an
/// `Option<&'static str>`. `None`: there is no git, or no repository of the package's own.
#[proc_macro]
pub fn commit(_: TokenStream) -> TokenStream {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let repository = package.and_then(|folder| Repository::at(&folder));
    let commit = repository.as_ref().and_then(Repository::commit);
    let watched: String = repository.iter().flat_map(Repository::changes_with_commits).map(watch).collect();
    // Debug output of text, and of an option of it, is Rust.
    format!("{{ {watched} {commit:?} as Option<&'static str> }}").parse().unwrap_or_default()
}

/// Has the compiler read a file, so that cargo compiles again when it changes; nothing of it is in the program.
fn watch(file: PathBuf) -> String {
    format!("const _: &[u8] = include_bytes!({:?});", file.to_string_lossy())
}

/// A git repository whose top folder is the package's.
struct Repository {
    folder: PathBuf,
}

impl Repository {
    /// `None`: no git, or no repository there. An archive unpacked inside somebody else's repository is not part of it.
    fn at(folder: &Path) -> Option<Self> {
        let folder = folder.canonicalize().ok()?;
        let repository = Self { folder };
        let top = PathBuf::from(repository.git(&["rev-parse", "--show-toplevel"])?);
        (top.canonicalize().ok()? == repository.folder).then_some(repository)
    }

    fn commit(&self) -> Option<String> {
        let commit = self.git(&["rev-parse", "HEAD"])?;
        // Without the option git would write its index, and a build must not write to the repository.
        let status = ["--no-optional-locks", "status", "--porcelain", "--"];
        let changed = self.git(&[&status[..], &SOURCES].concat());
        Some(if changed.is_some_and(|files| files.is_empty()) { commit } else { format!("{commit}-modified") })
    }

    /// The files that are written whenever another commit is made or checked out. A worktree keeps them elsewhere than
    /// in `.git`.
    fn changes_with_commits(&self) -> Vec<PathBuf> {
        let path = |name: &&str| Some(self.folder.join(self.git(&["rev-parse", "--git-path", name])?));
        ["HEAD", "logs/HEAD"].iter().filter_map(path).filter(|path| path.exists()).collect()
    }

    /// What git prints. `None`: it is not there, or fails.
    fn git(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("git").current_dir(&self.folder).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}
