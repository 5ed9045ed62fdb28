//! Disk full, a folder that may not be written to, a second writer, a changed plan, a missing device, a closed pipe.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use phasebench::store;

use crate::not_run::not_run;
use crate::run::fixture::{Fixture, Scenario, assert_exit, stderr, stdout};

/// Past this size of a file, writing fails, as it does on a full disk.
#[test]
fn a_disk_that_fills_up_stops_the_run_and_keeps_every_call() {
    let fixture = Fixture::new(&Scenario::default());
    let binary = env!("CARGO_BIN_EXE_phasebench");
    let full = Command::new("sh")
        .current_dir(fixture.path())
        .args(["-c", &format!("trap '' XFSZ; ulimit -f 24; exec {binary} run scenario.yaml --out run")])
        .output()
        .unwrap();
    assert_exit(&full, 4);
    assert!(stderr(&full).starts_with("error: run/measurements.jsonl: append: "), "{}", stderr(&full));
    let recording = store::read(&fixture.run).unwrap();
    let kept = recording.calls().count();
    assert!(kept > 3 && !recording.torn, "{kept} calls, no half line");
    assert_exit(&fixture.resume(), 0);
    assert_eq!(fixture.timed().len(), 2 * 2 * 5);
}

/// The same on a real full file system, where one may be mounted.
#[test]
fn a_full_file_system_is_named_as_such() {
    let fixture = Fixture::new(&Scenario::default());
    let binary = env!("CARGO_BIN_EXE_phasebench");
    let small = "mkdir small && mount -t tmpfs -o size=40k none small";
    let script =
        format!("{small} || exit 99; {binary} run scenario.yaml --out small/run; code=$?; df small >&2; exit $code");
    let as_root = Command::new("unshare").args(["-rm", "sh", "-c", &script]).current_dir(fixture.path()).output();
    let what = "a full file system is named as such";
    let Ok(output) = as_root else { return not_run(what, "no unshare command here") };
    if output.status.code() == Some(99) || stderr(&output).contains("unshare") {
        return not_run(what, "no file system may be mounted here");
    }
    assert_exit(&output, 4);
    let message = stderr(&output);
    assert!(message.contains("No space left on device"), "{message}");
    assert!(
        message.contains("every call recorded so far is kept; free some space and go on with --resume"),
        "{message}"
    );
}

#[test]
fn a_folder_that_may_not_be_written_to_is_an_error_with_a_way_out() {
    let fixture = Fixture::new(&Scenario::default());
    // Somewhere an unprivileged user can reach, with the binary beside it.
    let open = tempfile::Builder::new().prefix("phasebench-test").tempdir_in("/tmp").unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = open.path().join("phasebench");
    fs::copy(env!("CARGO_BIN_EXE_phasebench"), &binary).unwrap();
    let scenario = open.path().join("scenario.yaml");
    fs::copy(&fixture.scenario, &scenario).unwrap();
    fs::set_permissions(&scenario, fs::Permissions::from_mode(0o644)).unwrap();
    let closed = open.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();

    let mut command = Command::new(&binary);
    command.current_dir(open.path()).args(["run", "scenario.yaml", "--out", "closed/run"]);
    // SAFETY: reads the caller's own id.
    if unsafe { libc::geteuid() } == 0 {
        command.uid(65_534).gid(65_534);
    }
    let output = command.output().unwrap();
    assert_exit(&output, 4);
    let message = stderr(&output);
    assert!(message.starts_with("error: closed/run: create: Permission denied"), "{message}");
    assert!(message.contains("try: a folder that this user may write to, with --out"), "{message}");
    assert_eq!(fs::read_dir(&closed).unwrap().count(), 0);
}

#[test]
fn a_second_writer_is_refused_while_the_first_goes_on() {
    let script = "{ pace: real, decode_per_step: { base: 1ms, exponent: 0 } }";
    let fixture = Fixture::new(&Scenario { repetitions: "{ fixed: 20 }", script, ..Scenario::default() });
    let mut first = fixture.start().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !fixture.run.join("measurements.jsonl").exists() {
        assert!(first.try_wait().unwrap().is_none(), "ended too early");
        std::thread::yield_now();
    }
    // Stopped, so that it is not over before the second one has come.
    let tell = |signal| {
        // SAFETY: a signal to a process we started and have not waited for.
        assert_eq!(unsafe { libc::kill(i32::try_from(first.id()).unwrap(), signal) }, 0);
    };
    tell(libc::SIGSTOP);
    let second = fixture.resume();
    tell(libc::SIGCONT);
    assert_exit(&second, 4);
    let expected = format!("error: run: another process is writing to this run (process {})", first.id());
    assert_eq!(stderr(&second).trim(), expected);
    assert!(first.wait().unwrap().success());
    assert_eq!(fixture.timed().len(), 2 * 2 * 20);
}

#[test]
fn a_changed_plan_is_refused() {
    let fixture = Fixture::new(&Scenario::default());
    assert_exit(&fixture.run(), 0);
    let path = fixture.run.join("plan.json");
    let changed = fs::read_to_string(&path).unwrap().replace("\"seed\": 1", "\"seed\": 2");
    fs::write(&path, changed).unwrap();
    for arguments in [&["run", "--resume", "run"][..], &["analyze", "run"], &["report", "run"]] {
        let output = fixture.command(arguments).output().unwrap();
        assert_exit(&output, 4);
        assert!(
            stderr(&output).starts_with("error: run/plan.json: has changed since the run began"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn a_run_is_never_put_over_another() {
    let fixture = Fixture::new(&Scenario::default());
    assert_exit(&fixture.run(), 0);
    let before = fs::read(fixture.run.join("measurements.jsonl")).unwrap();
    let again = fixture.run();
    assert_exit(&again, 4);
    assert!(stderr(&again).contains("--resume run to go on with it"), "{}", stderr(&again));
    assert_eq!(fs::read(fixture.run.join("measurements.jsonl")).unwrap(), before);
}

#[test]
fn a_bad_scenario_file_exits_with_2_and_a_degraded_run_with_3() {
    let bad = Fixture::of("version: 1\nnmae: x\n");
    assert_exit(&bad.run(), 2);
    for (every, code) in [(2, 3), (5, 0)] {
        // 1 call in 2 (5) of one of two scenarios: 1/4 (1/10) of the timed calls; warmups are spared.
        let script = format!("{{ faults: [{{ kind: error, scenario: p8, every: {every} }}] }}");
        let more = "limits: { degraded_rate: 0.1 }\n";
        let fixture =
            Fixture::new(&Scenario { repetitions: "{ fixed: 10 }", script: &script, more, ..Scenario::default() });
        let output = fixture.run();
        assert_exit(&output, code);
        assert!(stdout(&output).contains("degraded"), "{}", stdout(&output));
    }
}

#[test]
fn a_closed_pipe_is_success() {
    let fixture = Fixture::new(&Scenario::default());
    let mut plan = fixture.command(&["schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(plan.stdout.take());
    let output = plan.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn only_narrows_the_run_and_names_what_it_does_not_know() {
    let fixture = Fixture::new(&Scenario::default());
    let output =
        fixture.command(&["run", "scenario.yaml", "--out", "run", "--only", "model=m1,scenario=p8"]).output().unwrap();
    assert_exit(&output, 0);
    assert!(fixture.calls().iter().all(|c| c.session.model == "m1" && c.scenario == "p8"));
    assert_eq!(fixture.timed().len(), 5);
    let output = fixture.command(&["plan", "scenario.yaml", "--only", "model=m9"]).output().unwrap();
    assert_exit(&output, 2);
    assert!(stderr(&output).contains("m9") && stderr(&output).contains("m1"), "{}", stderr(&output));
}
