#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn parse(text: &str) -> Result<Settings, Vec<Problem>> {
    Settings::parse(Path::new("folder/board.txt"), text)
}

#[test]
fn nothing_given_is_the_default() {
    assert_eq!(parse("\n# a comment\n   \n").unwrap(), Settings::default());
}

#[test]
fn every_key_is_followed() {
    let text = "period_ms = 20
        phase_ms = 3
        window_ms = 10.5
        delay_ms = 7
        average_window_ms = 500
        gain = 0.95
        offset_w = -2
        noise_w = 1.5
        quantum_mj = 10
        seed = 18446744073709551615
        counter = of_readings
        instant = not_supported
        average = not_supported
        idle_w = 80
        busy_w = 600
        load = file
        cores = 4
        load_file = load.txt
        counter_reset_s = 1
        lost_from_s = 2.5
        stale_from_s = 3
        not_supported_from_s = 4
        slow_ms = 5
        mig = enabled
        reasons = 0x24
        limit_w = 700
        states_change_ms = 150
        processes = 12, 34
        processes_from_s = 6
        boards = 2
        processes_on = 1";
    assert_eq!(text.lines().count(), KEYS.len());
    let expected = Settings {
        timing: Timing { period: 20 * MS, phase: 3 * MS, window: 10 * MS + MS / 2, delay: 7 * MS },
        average_window: 500 * MS,
        errors: Errors { gain: 0.95, offset_w: -2.0, noise_w: 1.5, quantum_j: 0.01, seed: u64::MAX },
        counter: Some(Counter::OfReadings),
        instant: false,
        average: false,
        idle_w: 80.0,
        busy_w: 600.0,
        load: LoadFrom::File(PathBuf::from("folder/load.txt")),
        cores: 4.0,
        faults: Faults {
            counter_reset: Some(1000 * MS),
            lost_from: Some(2500 * MS),
            stale_from: Some(3000 * MS),
            not_supported_from: Some(4000 * MS),
            slow: Duration::from_millis(5),
        },
        divided: true,
        reasons: 0x24,
        limit_w: 700.0,
        states_change: Some(150 * MS),
        processes: vec![12, 34],
        processes_from: 6000 * MS,
        boards: 2,
        processes_on: 1,
    };
    assert_eq!(parse(text).unwrap(), expected);
}

#[test]
fn there_may_be_no_counter_and_no_process() {
    let settings = parse("counter = not_supported\nprocesses =").unwrap();
    assert_eq!((settings.counter, settings.processes), (None, vec![]));
}

#[test]
fn the_last_line_of_a_key_holds() {
    let settings = parse("seed = 1\ncounter = of_readings\nseed = 2\ncounter = not_supported").unwrap();
    assert_eq!((settings.errors.seed, settings.counter), (2, None));
}

#[test]
fn a_file_of_load_waits_until_it_is_asked_for() {
    assert_eq!(parse("load = cpu\nload_file = load.txt").unwrap().load, LoadFrom::Processor);
    assert_eq!(parse("load_file = /at/load.txt\nload = file").unwrap().load, LoadFrom::File("/at/load.txt".into()));
}

#[test]
fn a_bad_line_is_told_with_what_is_allowed() {
    for (text, message) in [
        ("period_ms", "folder/board.txt:1: `period_ms` sets nothing\n  allowed: `key = value`"),
        ("\nperiod_ms = 0", "folder/board.txt:2: period_ms: `0`\n  allowed: a number from 0.1 to 10000000"),
        ("gain = nan", "folder/board.txt:1: gain: `nan`\n  allowed: a number from 0 to 100"),
        ("idle_w = -1", "folder/board.txt:1: idle_w: `-1`\n  allowed: a number from 0 to 100000"),
        ("lost_from_s = now", "folder/board.txt:1: lost_from_s: `now`\n  allowed: a number from 0 to 1000000"),
        ("seed = 1.5", "folder/board.txt:1: seed: `1.5`\n  allowed: a whole number"),
        ("reasons = 0xg", "folder/board.txt:1: reasons: `0xg`\n  allowed: bits as a number, also as `0x…`"),
        (
            "processes = 1, others",
            "folder/board.txt:1: processes: `others`\n  allowed: numbers of processes and `self`, with commas between them",
        ),
        ("counter = full", "folder/board.txt:1: counter: `full`\n  allowed: of_energy, of_readings, not_supported"),
        ("instant = no", "folder/board.txt:1: instant: `no`\n  allowed: yes, not_supported"),
        ("mig = on", "folder/board.txt:1: mig: `on`\n  allowed: enabled, disabled"),
        (
            "load = file",
            "folder/board.txt: `load = file` without `load_file`\n  allowed: `load_file = ` and a path beside it",
        ),
        (
            "period_ms = 20\nphase_ms = 20",
            "folder/board.txt: the phase is not below the period\n  allowed: a phase below the period, which is 100 ms \
             where it is not given",
        ),
    ] {
        let problems = parse(text).unwrap_err();
        assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [message], "{text}");
    }
}

#[test]
fn an_unknown_key_is_told_with_all_known_ones() {
    let problems = parse("perod_ms = 20").unwrap_err();
    assert_eq!(problems[0].what, "unknown key `perod_ms`");
    assert!(KEYS.iter().all(|key| problems[0].allowed.contains(key)));
}

#[test]
fn all_problems_are_told_at_once() {
    let problems = parse("gain = x\nidle_w = 5\nbusy_w = y\nload = file").unwrap_err();
    assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [Some(1), Some(3), None]);
}

#[test]
fn a_missing_file_is_a_problem() {
    let problems = Settings::read(Path::new("no/such/file")).unwrap_err();
    assert!(problems[0].to_string().starts_with("no/such/file: it cannot be read: "), "{}", problems[0]);
}
