//! Fetches wheels through the machine's own pip, checks them, and unpacks libraries out of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::error::SetupError;
use super::pins::Wheel;
use crate::commands::python::version;
use crate::files::{self, UnfinishedFolder};
use crate::hash::sha256_file;
use crate::units::Bytes;

/// What is written beside unpacked libraries.
pub const RECEIPT: &str = "unpacked.json";

/// Free space that must be left over: other programs need some too.
const MARGIN: u64 = 200 << 20;

/// Takes one member after another out of a wheel, each held against the wheel's own record. Names come from the archive, so
/// only their last part is used.
const UNPACK: &str = "
import base64, csv, fnmatch, hashlib, io, json, pathlib, shutil, sys, zipfile
wheel, into, take, leave = sys.argv[1], pathlib.Path(sys.argv[2]), json.loads(sys.argv[3]), json.loads(sys.argv[4])
def any_of(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
with zipfile.ZipFile(wheel) as archive:
    record = next((name for name in archive.namelist() if name.endswith('.dist-info/RECORD')), None)
    if record is None:
        sys.exit('it has no RECORD')
    rows = csv.reader(io.StringIO(archive.read(record).decode()))
    promised = {row[0]: row[1] for row in rows if len(row) > 1}
    for name in archive.namelist():
        if name.endswith('/') or not any_of(name, take) or any_of(name, leave):
            continue
        target = into / pathlib.PurePosixPath(name).name
        with archive.open(name) as source, open(target, 'wb') as file:
            shutil.copyfileobj(source, file)
        digest = hashlib.sha256(target.read_bytes()).digest()
        if promised.get(name) != 'sha256=' + base64.urlsafe_b64encode(digest).rstrip(b'=').decode():
            sys.exit(name + ' is not what RECORD says')
";

/// Versions of Python whose wheels are looked for; only shared libraries are taken out of them. First the one that the pinned
/// wheels are for.
const PYTHONS: [&str; 6] = ["3.11", "3.12", "3.13", "3.14", "3.10", "3.9"];

/// Names that a wheel for this system may carry, by the C library it needs.
const GLIBC: [&str; 6] = ["2_28", "2_27", "2_17", "2_31", "2_34", "2_35"];

/// What was unpacked, so that a later look can tell whether it is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Receipt {
    /// SHA-256 of the wheels by project.
    wheels: BTreeMap<String, String>,
    /// SHA-256 of the files by their path in the folder.
    files: BTreeMap<String, String>,
}

/// Whether a folder holds exactly what these wheels give. Hashes every file.
#[must_use]
pub fn is_whole(folder: &Path, wheels: &[Wheel<'_>]) -> bool {
    let Ok(text) = fs::read(folder.join(RECEIPT)) else { return false };
    let Ok(receipt) = serde_json::from_slice::<Receipt>(&text) else { return false };
    let as_pinned = wheels.iter().all(|wheel| match (receipt.wheels.get(wheel.project), wheel.sha256) {
        (Some(found), Some(pinned)) => found == pinned,
        (found, _) => found.is_some(),
    });
    as_pinned
        && receipt.wheels.len() == wheels.len()
        && receipt.files.iter().all(|(name, hash)| sha256_file(&folder.join(name)).is_ok_and(|found| found == *hash))
}

/// Makes the folder `at` from the wheels, whole or not at all.
///
/// # Errors
/// See [`SetupError`].
pub fn install(wheels: &[Wheel<'_>], at: &Path, progress: &mut dyn Write) -> Result<(), SetupError> {
    check_python()?;
    let parent = at.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|e| SetupError::io("create", parent, &e))?;
    check_space(wheels, parent)?;
    files::sweep(parent);
    let work = UnfinishedFolder::new_in(parent).map_err(|e| SetupError::io("create a folder in", parent, &e))?;
    let (downloads, unpacked) = (work.path().join("wheels"), work.path().join("unpacked"));
    for folder in [&downloads, &unpacked] {
        fs::create_dir(folder).map_err(|e| SetupError::io("create", folder, &e))?;
    }
    let mut hashes = BTreeMap::new();
    for wheel in wheels {
        // Progress is for people; a closed standard error must not stop the work.
        let _ = writeln!(progress, "fetching {} {} ({})", wheel.project, wheel.version, wheel.size);
        let (file, hash) = download(wheel, &downloads)?;
        hashes.insert(wheel.project.to_owned(), hash);
        let into = unpacked.join(wheel.into);
        fs::create_dir_all(&into).map_err(|e| SetupError::io("create", &into, &e))?;
        unpack(wheel, &file, &into)?;
        fs::remove_file(&file).map_err(|e| SetupError::io("remove", &file, &e))?;
    }
    write_receipt(wheels, hashes, &unpacked)?;
    put_in_place(&unpacked, at)
}

fn check_python() -> Result<(), SetupError> {
    match version(&["--version"]) {
        None => return Err(SetupError::NoPython),
        Some(_) if version(&["-m", "pip", "--version"]).is_none() => return Err(SetupError::NoPip),
        Some(_) => {}
    }
    Ok(())
}

fn check_space(wheels: &[Wheel<'_>], folder: &Path) -> Result<(), SetupError> {
    let largest = wheels.iter().map(|wheel| wheel.size.0).max().unwrap_or(0);
    let unpacked: u64 = wheels.iter().map(|wheel| wheel.unpacked.0).sum();
    let needed = Bytes(largest + unpacked + MARGIN);
    match crate::cache::free(folder) {
        Some(free) if free < needed => Err(SetupError::NoSpace { folder: folder.to_owned(), needed, free }),
        _ => Ok(()),
    }
}

/// The wheel's file and its hash.
fn download(wheel: &Wheel<'_>, into: &Path) -> Result<(PathBuf, String), SetupError> {
    let failed = || SetupError::Download { project: wheel.project, version: wheel.version.to_owned() };
    // A pinned wheel is for the first of them.
    let pythons = if wheel.sha256.is_some() { &PYTHONS[..1] } else { &PYTHONS[..] };
    let mut fetched = false;
    for (tried, python) in pythons.iter().enumerate() {
        // What pip says of one that there is no wheel for is of no interest while another is left.
        let last = tried + 1 == pythons.len();
        if pip_download(wheel, python, into, last)? {
            fetched = true;
            break;
        }
    }
    if !fetched {
        return Err(failed());
    }
    let mut files = fs::read_dir(into).map_err(|e| SetupError::io("list", into, &e))?.flatten();
    let file = files.next().map(|entry| entry.path()).ok_or_else(failed)?;
    let found = sha256_file(&file).map_err(|e| SetupError::io("read", &file, &e))?;
    match wheel.sha256 {
        Some(expected) if found != expected => {
            let file = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Err(SetupError::Hash { file, found, expected })
        }
        _ => Ok((file, found)),
    }
}

/// Has pip download one wheel. `false`: it did not.
fn pip_download(wheel: &Wheel<'_>, python: &str, into: &Path, speaks: bool) -> Result<bool, SetupError> {
    let arch = std::env::consts::ARCH;
    let abi = format!("--abi=cp{}", python.replace('.', ""));
    let mut command = Command::new("python3");
    command
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-input", "--disable-pip-version-check"])
        .args(["--only-binary=:all:", "--implementation=cp"])
        .arg(format!("--python-version={python}"))
        .arg(abi)
        // Pip accepts no other when one is given.
        .args(GLIBC.map(|glibc| format!("--platform=manylinux_{glibc}_{arch}")))
        .arg(format!("--platform=manylinux2014_{arch}"))
        .arg("--dest")
        .arg(into)
        .arg(format!("{}=={}", wheel.project, wheel.version))
        .stdin(Stdio::null());
    // What pip says goes to standard error: standard output is for results.
    command.stdout(io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from));
    if !speaks {
        command.stderr(Stdio::null());
    }
    let status = command.status().map_err(|e| SetupError::io("run", Path::new("python3"), &e))?;
    Ok(status.success())
}

fn unpack(wheel: &Wheel<'_>, file: &Path, into: &Path) -> Result<(), SetupError> {
    let list = |patterns: &[&str]| serde_json::to_string(patterns).unwrap_or_default();
    let output = Command::new("python3")
        .args(["-I", "-c", UNPACK])
        .arg(file)
        .arg(into)
        .arg(list(wheel.take))
        .arg(list(wheel.leave))
        .stdin(Stdio::null())
        .output()
        .map_err(|e| SetupError::io("run", Path::new("python3"), &e))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let why = words.trim().lines().last().unwrap_or_default().to_owned();
    Err(SetupError::Unpack { project: wheel.project, why })
}

fn write_receipt(wheels: &[Wheel<'_>], hashes: BTreeMap<String, String>, folder: &Path) -> Result<(), SetupError> {
    let mut files = BTreeMap::new();
    for below in wheels.iter().map(|wheel| wheel.into) {
        let inside = folder.join(below);
        for entry in fs::read_dir(&inside).map_err(|e| SetupError::io("list", &inside, &e))?.flatten() {
            let path = entry.path();
            if path.is_file() {
                let hash = sha256_file(&path).map_err(|e| SetupError::io("read", &path, &e))?;
                let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
                files.insert(name, hash);
                let synced = fs::File::open(&path).and_then(|file| file.sync_all());
                synced.map_err(|e| SetupError::io("write", &path, &e))?;
            }
        }
    }
    let receipt = Receipt { wheels: hashes, files };
    let path = folder.join(RECEIPT);
    let text = serde_json::to_string_pretty(&receipt).unwrap_or_default() + "\n";
    fs::write(&path, text).map_err(|e| SetupError::io("write", &path, &e))
}

/// Renames the finished folder to where it belongs. What is there and is not whole makes way.
fn put_in_place(unpacked: &Path, at: &Path) -> Result<(), SetupError> {
    let aside = unpacked.with_file_name("replaced");
    match fs::rename(at, &aside) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(SetupError::io("replace", at, &e)),
    }
    match fs::rename(unpacked, at) {
        // Another setup finished in between: its result is as good.
        Err(_) if at.is_dir() => Ok(()),
        result => result.map_err(|e| SetupError::io("create", at, &e)),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const WHEEL: Wheel<'static> = Wheel {
        project: "some-project",
        version: "1.0",
        sha256: Some("00"),
        size: Bytes(1),
        unpacked: Bytes(1),
        take: &["pkg/lib*.so*"],
        leave: &["*skip*"],
        into: "",
    };

    /// `honest`: its record says what its members are.
    fn wheel_file(folder: &Path, honest: bool) -> PathBuf {
        let file = folder.join("some.whl");
        let script = "
import base64, hashlib, sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as archive:
    record = ''
    for name in ['pkg/liba.so.1', 'pkg/libskip.so', 'pkg/readme', '../libevil.so', 'pkg/lib/../../../libout.so']:
        archive.writestr(name, name)
        digest = hashlib.sha256((name if len(sys.argv) < 3 else 'other').encode()).digest()
        record += f\"{name},sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()},{len(name)}\\n\"
    archive.writestr('pkg-1.0.dist-info/RECORD', record)
";
        let status = Command::new("python3")
            .args(["-c", script])
            .arg(&file)
            .args((!honest).then_some("other"))
            .status()
            .unwrap();
        assert!(status.success());
        file
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_the_libraries_come_out_and_only_into_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = wheel_file(folder.path(), true);
        let into = folder.path().join("deep/into");
        fs::create_dir_all(&into).unwrap();
        unpack(&WHEEL, &wheel, &into).unwrap();
        // A member that climbs out of the archive's root matches a pattern and lands inside all the same.
        assert_eq!(names(&into), ["liba.so.1", "libout.so"]);
        assert_eq!(names(folder.path()), ["deep", "some.whl"]);
    }

    #[test]
    fn a_member_that_is_not_what_the_record_says_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = wheel_file(folder.path(), false);
        let error = unpack(&WHEEL, &wheel, folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("pkg/liba.so.1 is not what RECORD says"), "{error}");
    }

    #[test]
    fn a_broken_wheel_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("broken.whl");
        fs::write(&file, "no archive").unwrap();
        let error = unpack(&WHEEL, &file, folder.path()).unwrap_err();
        assert!(error.to_string().contains("some-project") && error.to_string().contains("not a zip file"), "{error}");
    }

    #[test]
    fn what_is_damaged_or_of_other_wheels_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        assert!(!is_whole(at, &[WHEEL]));
        fs::write(at.join("liba.so.1"), "library").unwrap();
        write_receipt(&[WHEEL], [("some-project".to_owned(), "00".to_owned())].into(), at).unwrap();
        assert!(is_whole(at, &[WHEEL]));
        assert!(!is_whole(at, &[Wheel { sha256: Some("01"), ..WHEEL }]));
        assert!(is_whole(at, &[Wheel { sha256: None, ..WHEEL }]));
        fs::write(at.join("liba.so.1"), "librarx").unwrap();
        assert!(!is_whole(at, &[WHEEL]));
    }

    #[test]
    fn a_damaged_folder_makes_way() {
        let folder = tempfile::tempdir().unwrap();
        let (work, at) = (folder.path().join("work"), folder.path().join("1.0-cpu"));
        let unpacked = work.join("unpacked");
        fs::create_dir_all(&unpacked).unwrap();
        fs::create_dir_all(&at).unwrap();
        fs::write(at.join("old"), "").unwrap();
        fs::write(unpacked.join("new"), "").unwrap();
        put_in_place(&unpacked, &at).unwrap();
        assert_eq!(names(&at), ["new"]);
    }
}
