//! Where workers keep their sockets and their compilers' files: one private folder per run, one in it per worker.
//!
//! The folder is also what tells later which processes were a worker's: each has its name in its environment, and hands
//! that down to whatever it starts. A folder whose owner is gone is cleaned up by the next run: its lock is free then,
//! however the owner ended.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::hash::sha256_hex;
use crate::lock::Held;
use crate::process::{environment, kill, pids};

/// Environment variable of every worker and whatever it starts: its folder.
pub const VARIABLE: &str = "PHASEBENCH_WORKER_FOLDER";

/// How the folders of runs' workers begin. No other folder of ours does.
const PREFIX: &str = "phasebench-worker-";

/// Held by the run that owns the folder. No other program, and nothing else of ours, has a lock of this name.
const LOCK: &str = ".phasebench-worker.lock";

/// What the lock holds.
const LOCK_TEXT: &str = "The folder of one phasebench run's workers. It is removed when nobody holds this lock.\n";

/// The lock before it has its name.
const UNNAMED_LOCK: &str = ".phasebench-worker.lock.new";

/// Where compilers keep their cache.
const COMPILER: &str = "compiler";

/// How the folders of single workers begin; a number follows.
const WORKER: &str = "w";

/// How long killed processes may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// How often it is looked whether they are.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One run's workers: what the run is called, and the folder of theirs, made when the first of them needs it.
#[derive(Debug, Default)]
pub struct RunWorkers {
    run: Arc<OnceLock<String>>,
    folder: Mutex<Weak<WorkersFolder>>,
}

impl RunWorkers {
    /// Says what the run is called, for the labels of its containers. The first name stays.
    pub fn name_run(&self, name: &str) {
        let _ = self.run.set(name.to_owned());
    }

    /// The folder; made first, and what earlier runs left is removed, where there is none.
    ///
    /// # Errors
    /// The system's words.
    pub fn folder(&self) -> io::Result<Arc<WorkersFolder>> {
        let mut known = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = known.upgrade() {
            return Ok(folder);
        }
        let base = std::env::temp_dir();
        sweep(&base);
        let folder = Arc::new(WorkersFolder::new(&base, Arc::clone(&self.run))?);
        *known = Arc::downgrade(&folder);
        Ok(folder)
    }
}

/// The folder of one run's workers. Removed with the last that uses it.
#[derive(Debug)]
pub struct WorkersFolder {
    folder: TempDir,
    run: Arc<OnceLock<String>>,
    workers: AtomicU32,
    _lock: Held,
}

impl WorkersFolder {
    fn new(base: &Path, run: Arc<OnceLock<String>>) -> io::Result<Self> {
        let folder = private(PREFIX, 6, base)?;
        // Locked before it has its name: nobody ever finds it free while the run goes on.
        let unnamed = folder.path().join(UNNAMED_LOCK);
        let mut lock = File::create(&unnamed)?;
        lock.lock()?;
        lock.write_all(LOCK_TEXT.as_bytes())?;
        fs::rename(unnamed, folder.path().join(LOCK))?;
        make_private(&folder.path().join(COMPILER))?;
        Ok(Self { folder, run, workers: AtomicU32::new(0), _lock: Held::new(lock) })
    }

    /// The run's name, see [`RunWorkers::name_run`]; before it has one, the folder's.
    #[must_use]
    pub fn run(&self) -> String {
        let own = || self.folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.run.get().cloned().unwrap_or_else(own)
    }

    /// Folder that all workers of one backend share for their compilers' caches. Backends have one each: whoever comes
    /// second would find what the first has compiled, and the order would decide what compiling takes.
    ///
    /// # Errors
    /// The system's words.
    pub fn compiler_cache(&self, backend: &str) -> io::Result<PathBuf> {
        let folder = self.folder.path().join(COMPILER).join(&sha256_hex(backend.as_bytes())[..12]);
        match make_private(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(folder),
        }
    }

    /// A new folder for one worker.
    ///
    /// # Errors
    /// The system's words.
    pub fn worker(&self) -> io::Result<TempDir> {
        let number = self.workers.fetch_add(1, Ordering::Relaxed) + 1;
        let folder = private(&format!("{WORKER}{number}"), 0, self.folder.path())?;
        make_private(&folder.path().join("tmp"))?;
        Ok(folder)
    }
}

fn private(prefix: &str, random: usize, base: &Path) -> io::Result<TempDir> {
    let mode = Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix(prefix).rand_bytes(random).permissions(mode).tempdir_in(base)
}

fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(folder)
}

/// Ends what is left of the workers of runs that are gone, and removes their folders from `base`; returns those that
/// were removed. Whatever is not a worker folder through and through stays, a run's own folder above all.
pub fn sweep(base: &Path) -> Vec<PathBuf> {
    let mut removed = Vec::new();
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Some(lock) = lock_of(&path) else { continue };
        if lock.try_lock().is_ok() {
            end_all(&path);
            // A folder that cannot be removed now is tried again by the next run.
            if fs::remove_dir_all(&path).is_ok() {
                removed.push(path);
            }
        }
    }
    removed
}

/// The lock of a folder that this module made. `None`: it is another's, or holds anything that this module does not put
/// there.
fn lock_of(folder: &Path) -> Option<File> {
    // SAFETY: reads the caller's own id.
    let own = unsafe { libc::geteuid() };
    fs::symlink_metadata(folder).ok().filter(|found| found.is_dir() && found.uid() == own)?;
    let is_known = |name: &str| {
        let worker = name.strip_prefix(WORKER).is_some_and(|number| number.parse::<u32>().is_ok());
        worker || [LOCK, COMPILER].contains(&name)
    };
    for entry in fs::read_dir(folder).ok()? {
        entry.ok().filter(|entry| entry.file_name().to_str().is_some_and(is_known))?;
    }
    let path = folder.join(LOCK);
    fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let lock = File::open(path).ok()?;
    let mut text = String::new();
    (&lock).take(LOCK_TEXT.len() as u64 + 1).read_to_string(&mut text).ok()?;
    (text == LOCK_TEXT).then_some(lock)
}

/// Ends every process that was started for a worker whose folder is this one or in it.
pub fn end_all(folder: &Path) {
    let until = Instant::now() + GONE_WITHIN;
    let mut clear = 0;
    // Twice: a process that is just becoming another program shows no environment for an instant.
    while clear < 2 && Instant::now() < until {
        let left = marked(folder);
        clear = if left.is_empty() { clear + 1 } else { 0 };
        left.into_iter().for_each(kill);
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Processes whose environment names this folder or one in it.
#[must_use]
pub fn marked(folder: &Path) -> Vec<u32> {
    let own = std::process::id();
    pids().filter(|&pid| pid != own && folder_of(pid).is_some_and(|named| named.starts_with(folder))).collect()
}

fn folder_of(pid: u32) -> Option<PathBuf> {
    environment(pid)?.remove(OsStr::new(VARIABLE)).map(PathBuf::from)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::process::Command;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn folders_are_private_and_go_with_their_run() {
        let base = tempfile::tempdir().unwrap();
        let run = WorkersFolder::new(base.path(), Arc::default()).unwrap();
        let (first, second) = (run.worker().unwrap(), run.worker().unwrap());
        assert_ne!(first.path(), second.path());
        let caches = ["a", "b", "a"].map(|backend| run.compiler_cache(backend).unwrap());
        assert!(caches[0] != caches[1] && caches[0] == caches[2], "{caches:?}");
        for path in [first.path(), &first.path().join("tmp"), &caches[0], run.folder.path()] {
            assert_eq!(mode(path), 0o700, "{}", path.display());
        }
        let at = run.folder.path().to_owned();
        drop((first, second, run));
        assert!(!at.exists());
    }

    #[test]
    fn a_run_has_one_folder_and_is_called_what_it_is_told() {
        let (first, second) = (RunWorkers::default(), RunWorkers::default());
        let folder = first.folder().unwrap();
        assert!(Arc::ptr_eq(&folder, &first.folder().unwrap()));
        assert!(folder.run().starts_with(PREFIX), "{}", folder.run());
        first.name_run("one");
        assert_eq!(folder.run(), "one");
        assert_ne!(second.folder().unwrap().run(), "one", "another run of this process");
    }

    #[test]
    fn what_a_dead_run_left_is_ended_and_removed_and_a_living_one_is_left_alone() {
        let base = tempfile::tempdir().unwrap();
        let living = WorkersFolder::new(base.path(), Arc::default()).unwrap();
        let dead = WorkersFolder::new(base.path(), Arc::default()).unwrap();
        let worker = dead.worker().unwrap().keep();
        let spawn = |folder: &Path| {
            let mut command = Command::new("sh");
            command.args(["-c", "read never"]).env(VARIABLE, folder).stdin(std::process::Stdio::piped());
            command.spawn().unwrap()
        };
        let mut left = spawn(&worker);
        let mut kept = spawn(&living.worker().unwrap().keep());
        let at = dead.folder.path().to_owned();
        // As if it had been killed: the folder stays, the lock goes.
        let WorkersFolder { folder, _lock: lock, .. } = dead;
        drop((folder.keep(), lock));
        assert_eq!(sweep(base.path()), [at.as_path()]);
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&left.wait().unwrap()), Some(libc::SIGKILL));
        assert!(!at.exists() && living.folder.path().exists());
        assert_eq!(kept.try_wait().unwrap(), None);
        end_all(living.folder.path());
        kept.wait().unwrap();
        assert!(marked(living.folder.path()).is_empty());
    }

    /// Nothing but a whole worker folder is removed, whatever it is called and whatever lock lies in it.
    #[test]
    fn folders_of_others_stay() {
        let base = tempfile::tempdir().unwrap();
        let folder = |name: &str, files: &[(&str, &str)]| {
            let folder = base.path().join(name);
            fs::create_dir(&folder).unwrap();
            files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).unwrap());
        };
        let ours = (LOCK, LOCK_TEXT);
        folder("phasebench-foo", &[("lock", "17"), ("plan.json", "{}"), ("measurements.jsonl", "")]);
        folder("phasebench-worker-run", &[("lock", "17"), ("plan.json", "{}"), ("measurements.jsonl", "")]);
        folder("phasebench-worker-resumed", &[ours, ("plan.json", "{}"), ("measurements.jsonl", "")]);
        folder("phasebench-worker-notes", &[ours, ("w1", ""), ("well", "")]);
        folder("phasebench-worker-empty", &[]);
        folder("phasebench-worker-unsaid", &[(LOCK, "")]);
        folder("phasebench-worker-more", &[(LOCK, &format!("{LOCK_TEXT}more"))]);
        folder("phasebench-engine", &[ours]);
        std::os::unix::fs::symlink(base.path(), base.path().join("phasebench-worker-link")).unwrap();
        let before = fs::read_dir(base.path()).unwrap().count();
        assert_eq!(sweep(base.path()), [] as [PathBuf; 0]);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), before);
        folder("phasebench-worker-left", &[ours, ("w12", "")]);
        assert_eq!(sweep(base.path()), [base.path().join("phasebench-worker-left")]);
    }
}
