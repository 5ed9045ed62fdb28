//! A record cut anywhere, a second writer, a changed file, a damaged line.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::hash::sha256_hex;
use crate::record::{Finished, Line, LoopBelow, Opened};

const PLAN_JSON: &str = "{}\n";
const SPEC_TEXT: &str = "version: 1\n";

fn opened(epoch: u32) -> Line {
    Line::Opened(Box::new(Opened {
        epoch,
        unix_ns: 1_700_000_000_000_000_000,
        stack_sha256: "s".repeat(64),
        loop_below: LoopBelow::default(),
    }))
}

fn resume(run: &Path) -> Result<(Writer, Recording), StoreError> {
    Writer::resume(run, &mut |_| true)
}

fn manifest() -> String {
    format!("{{\"config_sha256\": \"{}\"}}", sha256_hex(SPEC_TEXT.as_bytes()))
}

fn create(folder: &Path) -> Writer {
    Writer::create(folder, SPEC_TEXT, PLAN_JSON, &manifest()).unwrap()
}

#[test]
fn what_is_appended_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut writer = create(&run);
    let lines = [opened(0), opened(1), Line::Finished(Finished { calls: 2, degraded: 1, made_again: 0 })];
    for line in &lines {
        writer.append(line).unwrap();
    }
    let recording = read(&run).unwrap();
    assert_eq!(recording.lines[1..], lines);
    assert!(recording.finished() && !recording.torn);
}

#[test]
fn a_second_writer_is_refused_and_told_who_holds_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let writer = create(&run);
    let error = resume(&run).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("{}: another process is writing to this run (process {})", run.display(), std::process::id())
    );
    drop(writer);
    resume(&run).unwrap();
}

#[test]
fn a_folder_with_something_in_it_is_never_written_into() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("precious"), "x").unwrap();
    let error = Writer::create(folder.path(), SPEC_TEXT, PLAN_JSON, &manifest()).unwrap_err().to_string();
    assert!(error.contains("exists already and is not empty"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_changed_plan_or_scenario_file_is_named() {
    for (name, text) in [(PLAN, "{\"seed\": 2}\n"), (SPEC, "version: 1 # changed\n")] {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        drop(create(&run));
        fs::write(run.join(name), text).unwrap();
        for error in [read(&run).unwrap_err(), resume(&run).unwrap_err()] {
            let error = error.to_string();
            assert!(error.contains(&format!("{name}: has changed since the run began")), "{error}");
        }
    }
}

#[test]
fn line_endings_that_git_changed_are_told_from_a_change() {
    for (name, text) in [(PLAN, PLAN_JSON), (SPEC, SPEC_TEXT)] {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        drop(create(&run));
        fs::write(run.join(name), text.replace('\n', "\r\n")).unwrap();
        for error in [read(&run).unwrap_err(), resume(&run).unwrap_err()] {
            let error = error.to_string();
            assert!(error.contains(&format!("{name}: its line endings were changed since")), "{error}");
            assert!(error.contains("* -text"), "{error}");
        }
    }
}

#[test]
fn a_run_that_is_removed_or_moved_while_it_is_written_ends_with_the_next_line() {
    let folder = tempfile::tempdir().unwrap();
    let removed = folder.path().join("removed");
    let mut writer = create(&removed);
    fs::remove_dir_all(&removed).unwrap();
    let error = writer.append(&opened(0)).unwrap_err();
    assert!(matches!(&error, StoreError::Gone { path } if path.ends_with("removed/measurements.jsonl")), "{error}");
    let moved = folder.path().join("moved");
    let mut writer = create(&moved);
    writer.append(&opened(0)).unwrap();
    fs::rename(&moved, folder.path().join("elsewhere")).unwrap();
    assert!(matches!(writer.append(&opened(1)), Err(StoreError::Gone { .. })));
}

#[test]
fn only_a_run_that_goes_on_is_told_to_resume_on_a_full_disk() {
    let full = |doing: &'static str| {
        let error = io_error(Path::new("run/file"), doing)(io::ErrorKind::StorageFull.into());
        assert!(!error.is_refused_write());
        error.to_string()
    };
    assert!(full(APPEND).ends_with("every call recorded so far is kept; free some space and go on with --resume"));
    assert!(full("write").ends_with("try: free some space, and the same again"));
    let refused = |doing| io_error(Path::new("f"), doing)(io::ErrorKind::ReadOnlyFilesystem.into()).is_refused_write();
    assert!(refused("create") && !refused("read"));
}

#[test]
fn a_damaged_line_in_the_middle_is_an_error_with_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut writer = create(&run);
    writer.append(&opened(0)).unwrap();
    let path = run.join(MEASUREMENTS);
    let text = fs::read_to_string(&path).unwrap().replace("epoch", "epok");
    fs::write(&path, text).unwrap();
    let error = read(&run).unwrap_err().to_string();
    assert!(error.contains("measurements.jsonl:2: not a record of format 3: unknown field `epok`"), "{error}");
}

#[test]
fn another_format_is_refused_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    drop(create(&run));
    let path = run.join(MEASUREMENTS);
    let text = fs::read_to_string(&path).unwrap().replace("\"format\":3", "\"format\":99");
    fs::write(&path, text).unwrap();
    let error = read(&run).unwrap_err().to_string();
    assert!(error.contains("has format 99, this version of phasebench reads formats 1 to 3; use"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Cut at any byte, every complete line is read, and a resumed writer goes on behind it.
    #[test]
    fn a_record_cut_at_any_byte_keeps_every_complete_line(share in 0.0_f64..1.0) {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let mut writer = create(&run);
        for epoch in 0..130 {
            writer.append(&opened(epoch)).unwrap();
        }
        drop(writer);
        let path = run.join(MEASUREMENTS);
        let whole = fs::read(&path).unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "test")]
        let cut = (share * whole.len() as f64) as usize;
        fs::write(&path, &whole[..cut]).unwrap();
        let whole_lines = whole[..cut].split_inclusive(|&b| b == b'\n').filter(|line| line.ends_with(b"\n"));
        let complete = whole_lines.filter(|line| !seal::is_seal(line)).count();

        let (mut writer, recording) = resume(&run).unwrap();
        prop_assert_eq!(recording.lines.len(), complete.max(1), "a lost header is written again");
        writer.append(&opened(9)).unwrap();
        let again = read(&run).unwrap();
        prop_assert_eq!(again.lines.len(), complete.max(1) + 1);
        prop_assert!(again.seals.broken.is_empty(), "{:?}", again.seals.broken);
        prop_assert_eq!(&again.lines[again.lines.len() - 1], &opened(9));
    }
}
