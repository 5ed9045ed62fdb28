//! `phasebench machine` through the program itself.

use std::process::Command;

use crate::run::fixture::{Fixture, Scenario, assert_exit, stdout};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn machine(arguments: &[&str]) -> std::io::Result<std::process::Output> {
    Command::new(env!("CARGO_BIN_EXE_phasebench")).arg("machine").args(arguments).output()
}

#[test]
fn both_roofs_are_measured_told_and_drawn() -> Outcome {
    let folder = tempfile::tempdir()?;
    let out = folder.path().display().to_string();
    let output = machine(&["--threads", "1,2", "--out", &out, "--json"])?;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let speeds = found["speeds"].as_array().ok_or("no speeds")?;
    let names: Vec<_> = speeds.iter().map(|row| (row["kernel"].as_str(), row["threads"].as_u64())).collect();
    let kernels = [Some("memory"), Some("memory_plain"), Some("compute")];
    let expected = [1, 2].map(|threads| kernels.map(|kernel| (kernel, Some(threads))));
    assert_eq!(names, expected.as_flattened());
    for row in speeds {
        let median = row["per_second"].as_f64().ok_or("no median")?;
        let bounds = (row["low"].as_f64().ok_or("no bound")?, row["high"].as_f64().ok_or("no bound")?);
        assert!(bounds.0 <= median && median <= bounds.1, "{row}");
    }
    assert!(found["vector_bits"].as_u64() >= Some(32));
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.path().join("machine.json"))?)?;
    assert_eq!(written, found);
    let chart = std::fs::read_to_string(folder.path().join("machine.svg"))?;
    assert!(chart.contains("times as fast as the fewest threads"), "{chart}");
    Ok(())
}

#[test]
fn no_threads_are_none() -> Outcome {
    let output = machine(&["--threads", "0"])?;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr)?.contains("0 is not in 1..=4096"));
    Ok(())
}

/// What the kernels take of a run keeps within their share, and what is planned of it is said.
#[test]
fn a_plan_says_how_often_the_machine_is_measured() {
    for (step, said, begins) in [
        ("1ms", "too short to measure the machine's own speed beside it within 2.0 % of the time", false),
        (
            "50ms",
            "measured about 1 time meanwhile, 220 ms in all, 2.0 % at most; first when that share allows for it",
            false,
        ),
        ("200ms", "2.0 % at most; first before anything is loaded", true),
    ] {
        let script = format!("{{ pace: real, decode_per_step: {{ base: {step}, exponent: 0 }} }}");
        let fixture = Fixture::new(&Scenario { script: &script, ..Scenario::default() });
        let plan = |more: &[&str]| {
            let output = fixture.command(&[&["plan", "scenario.yaml"], more].concat()).output().unwrap();
            assert_exit(&output, 0);
            stdout(&output)
        };
        let printed = plan(&[]);
        assert!(printed.contains(said), "{step}: {printed}");
        let found: serde_json::Value = serde_json::from_str(&plan(&["--json"])).unwrap();
        assert_eq!(found["references"]["begins"], begins, "{step}: {found:#}");
        let (each, most) = (&found["references"]["each_ms"], &found["references"]["max"]);
        let spent = each.as_f64().unwrap() * most.as_f64().unwrap();
        assert!(spent <= 0.02 * found["estimate"]["max_ms"].as_f64().unwrap(), "{step}: {found:#}");
    }
}
