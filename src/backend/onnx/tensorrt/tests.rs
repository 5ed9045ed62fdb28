//! What needs no board: which engines are whose, what they are built for, and what a load tells of them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::cell::Cell;
use std::time::Duration;

use super::*;
use crate::clock::VirtualClock;
use crate::scenario::Provider;

fn model() -> Model {
    Model { sha256: "ab".to_owned(), layers: 1, heads: 2, width: 8 }
}

fn shape(procedure: Procedure, batch: u32, prompt_tokens: u32, steps: u32) -> CallShape {
    CallShape { procedure, batch, prompt_tokens, steps }
}

#[test]
fn one_profile_holds_every_planned_call_and_each_of_its_points_is_a_call() {
    let planned = [
        shape(Procedure::PrefillDecode, 4, 16, 8),
        shape(Procedure::Prefill, 1, 64, 0),
        shape(Procedure::Uncached, 2, 20, 50),
    ];
    let profile = Profile::of(&planned).unwrap();
    assert_eq!(profile, Profile { rows: 4, columns: 70, cached: 70 });
    let [min, opt, max] = profile.options(&model());
    assert_eq!(min.0, "trt_profile_min_shapes");
    assert_eq!(
        min.1,
        "input_ids:1x1,attention_mask:1x1,position_ids:1x1,past_key_values.0.key:1x2x0x8,past_key_values.0.value:1x2x0x8"
    );
    assert_eq!(
        (opt.0, opt.1.as_str()),
        (
            "trt_profile_opt_shapes",
            "input_ids:4x1,attention_mask:4x71,position_ids:4x1,past_key_values.0.key:4x2x70x8,past_key_values.0.value:4x2x70x8"
        )
    );
    assert!(max.1.starts_with("input_ids:4x70,attention_mask:4x140,position_ids:4x70,"), "{}", max.1);
    assert_eq!(Profile::of(&[]), None);
}

fn library(version: &str) -> Inspected {
    Inspected {
        path: "/lib/libonnxruntime.so".into(),
        version: version.to_owned(),
        api: 24,
        build_info: String::new(),
        sha256: "cd".to_owned(),
        providers: Vec::new(),
    }
}

#[test]
fn engines_are_another_s_as_soon_as_anything_they_depend_on_is() {
    let root = tempfile::tempdir().unwrap();
    let option = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    let folder = |model: &Model, options: &[(String, String)], device, runtime, tensorrt, boards: &str| {
        let content = content(model, options, device, &library(runtime), Some(tensorrt), Ok(boards.to_owned()));
        let (folder, place) = place(root.path(), content).unwrap();
        assert!(matches!(place, Place::Kept { .. }), "{place:?}");
        folder
    };
    let usual = || folder(&model(), &option("trt_fp16_enable", "1"), 0, "1.31.1", "10.9.0", "a board");
    let first = usual();
    assert_eq!(first, usual());
    let other = Model { sha256: "ef".to_owned(), ..model() };
    let all = [
        first.clone(),
        folder(&other, &option("trt_fp16_enable", "1"), 0, "1.31.1", "10.9.0", "a board"),
        folder(&model(), &option("trt_fp16_enable", "0"), 0, "1.31.1", "10.9.0", "a board"),
        folder(&model(), &option("trt_fp16_enable", "1"), 1, "1.31.1", "10.9.0", "a board"),
        folder(&model(), &option("trt_fp16_enable", "1"), 0, "1.30.0", "10.9.0", "a board"),
        folder(&model(), &option("trt_fp16_enable", "1"), 0, "1.31.1", "10.13.4", "a board"),
        folder(&model(), &option("trt_fp16_enable", "1"), 0, "1.31.1", "10.9.0", "another board"),
    ];
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    let text = fs::read_to_string(first.join("content")).unwrap();
    assert!(text.contains("tensorrt: 10.9.0\n") && text.contains("boards: a board\n"), "{text}");
}

#[test]
fn what_is_not_told_or_in_use_keeps_engines_from_being_kept() {
    let root = tempfile::tempdir().unwrap();
    let of = |tensorrt, boards| content(&model(), &[], 0, &library("1.31.1"), tensorrt, boards);
    let why = |content: Content| match place(root.path(), content).unwrap() {
        (folder, Place::Passing { why, .. }) => {
            assert!(!folder.starts_with(root.path()));
            why
        }
        (folder, Place::Kept { .. }) => panic!("kept in {}", folder.display()),
    };
    assert_eq!(why(of(None, Ok("a board".to_owned()))), "the version of TensorRT is not told");
    assert_eq!(why(of(Some("10.9.0"), Err("no board".to_owned()))), "no board");
    let known = || of(Some("10.9.0"), Ok("a board".to_owned()));
    let (_, _held) = place(root.path(), known()).unwrap();
    assert!(why(known()).ends_with("another session has its engines there"));
}

#[test]
fn a_scenario_that_keeps_engines_itself_is_left_to() {
    let root = tempfile::tempdir().unwrap();
    let of = |options: &[(&str, &str)]| {
        let provider_options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let settings = OnnxSettings { provider: Provider::Tensorrt, provider_options, ..OnnxSettings::default() };
        let shapes = [shape(Procedure::Prefill, 1, 8, 0)];
        let engines = Engines::of(root.path(), &model(), &settings, &shapes, &library("1.31.1")).unwrap();
        engines.map(|engines| engines.set(&settings).provider_options)
    };
    assert_eq!(of(&[("trt_engine_cache_path", "/theirs")]), None);
    assert_eq!(of(&[("trt_engine_cache_enable", "0")]), None);
    let names =
        |options: &[(&str, &str)]| -> Vec<String> { of(options).unwrap().into_iter().map(|(key, _)| key).collect() };
    let profile = ["trt_profile_min_shapes", "trt_profile_opt_shapes", "trt_profile_max_shapes"];
    assert_eq!(names(&[]), [&profile[..], &KEEPING].concat());
    assert_eq!(names(&[("trt_profile_min_shapes", "input_ids:1x1")]), [&profile[..1], &KEEPING].concat());
}

/// Engines in a folder of a test.
fn engines(folder: &Path) -> Engines {
    let held = hold(folder, "").unwrap();
    Engines {
        folder: folder.to_owned(),
        options: Vec::new(),
        version: Some("10.9.0".to_owned()),
        place: Place::Kept { _lock: held },
    }
}

fn words(engines: &Engines, built: Option<Nanos>) -> String {
    engines.shown(built)[0].1.clone()
}

#[test]
fn building_is_told_apart_and_a_session_is_created_from_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (engines, clock) = (engines(folder.path()), VirtualClock::default());
    let (mut built, mut created) = (0, 0);
    let mut new = || {
        created += 1;
        let engine = folder.path().join("a_sm90.engine");
        if !engine.exists() {
            built += 1;
            clock.pass(Duration::from_nanos(7_000));
            fs::write(folder.path().join("a_sm90.profile"), "shapes").unwrap();
            fs::write(engine, "engine").unwrap();
        }
        clock.pass(Duration::from_nanos(10));
        Ok(created)
    };
    let first = create(Some(&engines), &clock, &mut new).unwrap();
    assert_eq!((first.session, first.built), (2, Some(Nanos(7_010))));
    assert_eq!(words(&engines, first.built), "1 built in this load; kept");
    let second = create(Some(&engines), &clock, &mut new).unwrap();
    assert_eq!((second.session, second.built), (3, None));
    assert_eq!(words(&engines, second.built), "1 from an earlier load");
    let other = create(None, &clock, &mut new).unwrap();
    assert_eq!((other.session, other.built, built), (4, None, 1));
}

#[test]
fn engines_that_are_not_there_after_the_load_are_said_to_be_built_inside_calls() {
    let folder = tempfile::tempdir().unwrap();
    let engines = engines(folder.path());
    let made = create(Some(&engines), &VirtualClock::default(), || Ok(())).unwrap();
    assert_eq!(made.built, None);
    assert_eq!(words(&engines, None), "none as the session was created: they are built inside calls");
    let before = engines.written();
    assert_eq!(built_inside(&before, &engines.written()), None);
    fs::write(folder.path().join("a_sm90.engine"), "engine").unwrap();
    let failure = built_inside(&before, &engines.written()).unwrap();
    assert_eq!(failure.kind, Degraded::Reloaded);
    assert!(failure.message.starts_with("TensorRT built 1 of its engines inside the call"), "{failure}");
}

#[test]
fn an_engine_that_cannot_be_read_is_built_again() {
    let folder = tempfile::tempdir().unwrap();
    let engines = engines(folder.path());
    let engine = folder.path().join("a_sm90.engine");
    fs::write(&engine, "cut of").unwrap();
    let tries = Cell::new(0);
    let made = create(Some(&engines), &VirtualClock::default(), || {
        tries.set(tries.get() + 1);
        match fs::read_to_string(&engine) {
            Ok(text) if text == "whole" => Ok(()),
            Ok(_) => {
                let words = "TensorRT EP could not deserialize engine from cache: a_sm90.engine";
                Err(Failure::new(Degraded::Error, words))
            }
            Err(_) => {
                fs::write(&engine, "whole").unwrap();
                Ok(())
            }
        }
    });
    assert!(made.unwrap().built.is_some());
    assert_eq!(tries.get(), 3);
}

#[test]
fn what_keeps_an_engine_from_being_built_has_a_kind_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let engines = engines(folder.path());
    let fail = |kind: Degraded, words: &str| {
        let failed: Result<Created<()>, _> =
            create(Some(&engines), &VirtualClock::default(), || Err(Failure::new(kind, words)));
        failed.unwrap_err().to_string()
    };
    let words = "TensorRT EP failed to create engine from network for fused node: graph_0";
    assert_eq!(fail(Degraded::Error, words), format!("compile_failed: TensorRT could not build its engine: {words}"));
    for (kind, words) in [
        (Degraded::Oom, "failed to create engine from network: out of memory"),
        (Degraded::Timeout, "stopped at the deadline of 2.0 s"),
        (Degraded::Error, "no such file"),
    ] {
        assert_eq!(fail(kind, words), format!("{kind}: {words}"));
    }
}
