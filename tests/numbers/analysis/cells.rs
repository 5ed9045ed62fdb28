//! Per call and per cell: what counts, and what is made of it.

use phasebench::analysis::{CvBand, IntervalKind, MetricColumns, MetricRow, Proof, Standing, SummaryRow, Tables};
use phasebench::backend::LoadReport;
use phasebench::record::plan::SkippedCell;
use phasebench::record::{Decision, Line, Rule};
use phasebench::stats::location::{adaptive_location, log_location};
use phasebench::terms::{BUILD_ENGINES, Degraded, Flag, Mode, Phase, Regime, Repetitions, Role, Status};
use phasebench::units::{Bytes, Nanos};
use proptest::prelude::*;

use crate::analysis::run::{FOUR, Run, degrade, model, shape};

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1e-9), "{found}, expected {expected}");
}

fn summary<'a>(tables: &'a Tables, cell: &str, mode: Mode) -> &'a SummaryRow {
    tables.summary.iter().find(|row| row.key.cell_id == cell && row.mode == mode).unwrap()
}

fn metric<'a>(tables: &'a Tables, call: &str, mode: Mode) -> &'a MetricRow {
    tables.metrics.iter().find(|row| row.call_id == call && row.mode == mode).unwrap()
}

/// One model, one cell: prefills of 10, 14, 12, 20 ms, decode of 100 ms each.
fn one_cell() -> Run {
    let prefill = [10.0, 14.0, 12.0, 20.0];
    Run::measured(&FOUR[..1], &[shape("s", 8, 1, 50)], 4, |_, _, i| (prefill[i as usize], 100.0))
}

#[test]
fn a_cell_is_summarised_by_hand() {
    let tables = one_cell().tables();
    let row = summary(&tables, "a-s-1-50", Mode::Prefill);
    assert_eq!((row.n, row.n_degraded, row.n_flagged, row.regime), (4, 0, 0, Regime::Warm));
    assert_eq!((row.attribution, row.actual.as_deref()), (Proof::Attributed, Some("cpu")));
    assert_eq!((row.min_ms, row.median_ms, row.mean_ms, row.max_ms), (10.0, 13.0, 14.0, 20.0));
    close(row.sd_ms.unwrap(), (56.0_f64 / 3.0).sqrt());
    close(row.cv.unwrap(), (56.0_f64 / 3.0).sqrt() / 14.0);
    assert_eq!(row.cv_band, Some(CvBand::Unstable));
    close(row.mean_over_median.unwrap(), 14.0 / 13.0);
    assert!(!row.skewed);
    assert_eq!((row.p95_ms, row.p99_ms), (None, None));
    assert_eq!((row.tokens, row.architecture.params_millions, row.architecture.n_layer), (Some(8), Some(1.0), Some(2)));
    close(row.tokens_per_s.unwrap(), 8.0 / 0.013);
    close(row.ms_per_token.unwrap(), 13.0 / 8.0);
    let location = log_location(&[10.0, 14.0, 12.0, 20.0], 0.95).unwrap();
    assert_eq!(row.interval_kind, IntervalKind::LogLocation);
    assert_eq!((row.ci_low_ms, row.ci_high_ms), (Some(location.interval.low), Some(location.interval.high)));
    assert_eq!(row.drift_p, None);
}

#[test]
fn adaptive_repetitions_have_the_wider_interval() {
    let mut run = one_cell();
    run.plan.repetitions = Repetitions::Adaptive { min: 3, max: 4, until_relative_ci: 0.01 };
    let row = summary(&run.tables(), "a-s-1-50", Mode::Prefill).clone();
    let location = adaptive_location(&[10.0, 14.0, 12.0, 20.0], 0.95).unwrap();
    assert_eq!(row.interval_kind, IntervalKind::AdaptiveLocation);
    assert_eq!(row.ci_relative, Some(location.relative_half_width));
}

#[test]
fn modes_are_apart_and_the_whole_is_their_sum() {
    let run = Run::measured(&FOUR[..1], &[shape("s", 8, 3, 50)], 1, |_, _, _| (12.0, 100.0));
    let tables = run.tables();
    let of = |mode| MetricColumns::of(metric(&tables, "a-s-3-50-timed-0000", mode));
    assert_eq!(of(Mode::Prefill).latency_ms, Some(12.0));
    assert_eq!(of(Mode::Prefill).tokens, Some(24));
    close(of(Mode::Prefill).ms_per_token.unwrap(), 1.5);
    assert_eq!(of(Mode::KvDecode).latency_ms, Some(100.0));
    assert_eq!(of(Mode::KvDecode).tokens, Some(150));
    close(of(Mode::KvDecode).ms_per_token.unwrap(), 2.0);
    close(of(Mode::KvDecode).tokens_per_s.unwrap(), 1500.0);
    assert_eq!(of(Mode::E2eKv).latency_ms, Some(112.0));
    assert_eq!(of(Mode::E2eKv).tokens, Some(174));
    assert_eq!(of(Mode::E2eKv).ms_per_token, None);
    assert_eq!(of(Mode::E2eKv).total_wall_ms, Some(112.0));
    assert_eq!(
        tables.summary.iter().map(|row| row.mode).collect::<Vec<_>>(),
        [Mode::Prefill, Mode::KvDecode, Mode::E2eKv]
    );
}

#[test]
fn rows_of_different_length_count_what_was_sent() {
    let mut run = Run::measured(&FOUR[..1], &[shape("s", 8, 2, 4)], 1, |_, _, _| (10.0, 10.0));
    run.find("a-s-2-4-timed-0000").tokens.prompt_sent = Some(11);
    let tables = run.tables();
    let row = metric(&tables, "a-s-2-4-timed-0000", Mode::Prefill);
    assert_eq!((row.tokens(), row.prompt_tokens(), row.prompt_padded()), (Some(11), Some(5.5), Some(8)));
}

#[test]
fn a_failed_call_keeps_what_it_proved_and_counts_nowhere() {
    let mut run = one_cell();
    let call = run.find("a-s-1-50-timed-0003");
    degrade(call, Degraded::Timeout, "no answer in time");
    call.spans.truncate(1);
    let tables = run.tables();
    let kept = metric(&tables, "a-s-1-50-timed-0003", Mode::Prefill);
    assert_eq!((kept.status, kept.degraded_kind), (Standing::Degraded, Some(Degraded::Timeout)));
    assert_eq!(kept.latency_ms, Some(20.0));
    for mode in [Mode::KvDecode, Mode::E2eKv] {
        let lost = MetricColumns::of(metric(&tables, "a-s-1-50-timed-0003", mode));
        assert_eq!((lost.latency_ms, lost.tokens, lost.tokens_per_s, lost.ms_per_token), (None, None, None, None));
    }
    for mode in [Mode::Prefill, Mode::KvDecode, Mode::E2eKv] {
        let row = summary(&tables, "a-s-1-50", mode);
        assert_eq!((row.n, row.n_degraded), (3, 1));
    }
    assert_eq!(summary(&tables, "a-s-1-50", Mode::Prefill).median_ms, 12.0);
}

#[test]
fn rewarm_cold_and_flagged_calls() {
    let mut run = one_cell();
    run.call(FOUR[0], shape("s", 8, 1, 50), Role::Rewarm, 0, 0, (5000.0, 5000.0));
    run.find("a-s-1-50-timed-0000").regime = Regime::ColdShape;
    run.find("a-s-1-50-timed-0001").flags = vec![Flag::ForeignLoad, Flag::CoResident].into();
    let tables = run.tables();
    let row = summary(&tables, "a-s-1-50", Mode::Prefill);
    // Left: 14, 12, 20. A flag removes nothing, a regime that is not warm does.
    assert_eq!((row.n, row.median_ms, row.max_ms, row.n_flagged), (3, 14.0, 20.0, 1));
    assert_eq!(metric(&tables, "a-s-1-50-timed-0001", Mode::Prefill).flags.to_string(), "foreign_load;co_resident");
    // Cold: 30 ms. The rewarm is in neither part of the ratio.
    let warmup = tables.warmup_effect.iter().find(|row| row.mode == Mode::Prefill).unwrap();
    assert_eq!((warmup.n_warmup, warmup.n_cold, warmup.n_timed), (1, 1, 3));
    assert_eq!((warmup.warmup_ms, warmup.timed_ms, warmup.delta_ms), (Some(30.0), Some(14.0), Some(16.0)));
}

#[test]
fn a_call_without_proof_is_not_pooled_with_those_that_have_it() {
    let mut run = one_cell();
    run.find("a-s-1-50-timed-0003").attribution.actual = None;
    let tables = run.tables();
    let row = summary(&tables, "a-s-1-50", Mode::Prefill);
    assert_eq!((row.n, row.n_unattributed, row.n_degraded, row.median_ms), (3, 1, 0, 12.0));
    assert_eq!((row.attribution, row.actual.as_deref()), (Proof::Attributed, Some("cpu")));
    let kept = metric(&tables, "a-s-1-50-timed-0003", Mode::Prefill);
    assert_eq!((kept.attributed, kept.latency_ms, kept.status), (false, Some(20.0), Standing::Ok));
    assert!(row.pools(metric(&tables, "a-s-1-50-timed-0002", Mode::Prefill)) && !row.pools(kept));
}

#[test]
fn a_cell_without_any_proof_is_labelled_and_in_no_aggregate() {
    let shapes = [shape("s", 8, 1, 50), shape("t", 8, 1, 50)];
    let mut run = Run::measured(&FOUR[..2], &shapes, 3, |model, _, _| (model.millions, 10.0));
    let unproven = |cell: &str| cell == "a-s-1-50" || cell.starts_with("b-");
    for call in run.calls().filter(|call| unproven(&call.cell_id.0)) {
        call.attribution.actual = None;
    }
    let tables = run.tables();
    let row = summary(&tables, "a-s-1-50", Mode::Prefill);
    assert_eq!((row.n, row.n_unattributed, row.attribution), (3, 3, Proof::Unattributed));
    assert_eq!((row.median_ms, row.actual.as_deref()), (1.0, None));
    let rows: Vec<_> = tables.aggregate.iter().filter(|row| row.mode == Mode::Prefill).collect();
    assert_eq!(rows.len(), 1, "nothing proves where any call of `b` ran");
    assert_eq!((rows[0].model.as_str(), rows[0].scenarios.as_str(), rows[0].n_calls), ("a", "t", 3));
    assert_eq!((rows[0].missing_scenarios.as_str(), rows[0].unattributed_scenarios.as_str()), ("s", "s"));
}

#[test]
fn other_weights_than_the_manifests_are_not_described_by_it() {
    let mut run = one_cell();
    run.find("a-s-1-50-timed-0002").weights_id = "stray".to_owned().into();
    let tables = run.tables();
    let rows: Vec<&SummaryRow> = tables.summary.iter().filter(|row| row.mode == Mode::Prefill).collect();
    assert_eq!(
        rows.iter().map(|row| (row.n, row.architecture.params_millions)).collect::<Vec<_>>(),
        [(3, Some(1.0)), (1, None)]
    );
}

#[test]
fn warmup_ratios_and_their_grid() {
    let shapes = [shape("s", 8, 1, 50), shape("t", 8, 1, 50)];
    let run = Run::measured(&FOUR[..2], &shapes, 3, |model, _, _| (model.millions, 10.0));
    let tables = run.tables();
    let decode: Vec<_> = tables.warmup_effect.iter().filter(|row| row.mode == Mode::KvDecode).collect();
    assert_eq!(decode.iter().map(|row| row.ratio).collect::<Vec<_>>(), [Some(3.0), Some(2.0), Some(3.0), Some(2.0)]);
    let grid = tables.warmup_summary.iter().find(|row| row.mode == Mode::KvDecode).unwrap();
    assert_eq!((grid.n_cells, grid.ratio_median, grid.ratio_max, grid.ratio_p95), (4, 2.5, 3.0, None));
    assert_eq!((grid.delta_median_ms, grid.delta_max_ms), (15.0, 20.0));
    assert_eq!(grid.worst_cell_id, "a-s-1-50");
}

#[test]
fn loads_say_what_the_first_caller_waits_for() {
    let mut run = one_cell();
    let tables = run.tables();
    let row = &tables.load_breakdown[0];
    assert_eq!((row.duration_ms, row.parts_ms, row.host_rss_growth_bytes), (50.0, Some(45.0), Some(-100)));
    assert_eq!((row.first_call_ms, row.first_call_phase), (Some(30.0), Some(Phase::Prefill)));
    assert_eq!(row.first_call_id.as_deref(), Some("a-s-1-50-load0-cold-0"));
    let parts: Vec<_> = tables.load_parts.iter().map(|part| (part.part.as_str(), part.duration_ms)).collect();
    assert_eq!(parts, [("read", 30.0), ("plan", 15.0)]);

    run.lines.retain(|line| !matches!(line, Line::Call(_)));
    for line in &mut run.lines {
        if let Line::Load(load) = line {
            load.status = Status::Degraded(Degraded::Oom);
            load.parts_ns.clear();
            load.host_rss_after_bytes = None;
        }
    }
    let tables = run.tables();
    let row = &tables.load_breakdown[0];
    assert_eq!((row.status, row.degraded_kind), (Standing::Degraded, Some(Degraded::Oom)));
    assert_eq!((row.parts_ms, row.host_rss_growth_bytes, row.first_call_ms), (None, None, None));
}

/// What a load builds for those after it is told, and is no part of its own time.
#[test]
fn engines_that_are_built_are_beside_the_load() {
    let mut run = one_cell();
    for line in &mut run.lines {
        if let Line::Load(load) = line {
            load.parts_ns.insert(1, (BUILD_ENGINES.to_owned(), Nanos::from_ms(7000.0)));
        }
    }
    let tables = run.tables();
    assert_eq!((tables.load_breakdown[0].duration_ms, tables.load_breakdown[0].parts_ms), (50.0, Some(45.0)));
    let parts: Vec<_> = tables.load_parts.iter().map(|part| (part.part.as_str(), part.duration_ms)).collect();
    assert_eq!(parts, [("read", 30.0), ("build_engines", 7000.0), ("plan", 15.0)]);
    let (proof, parts) = (Some(Nanos(5)), vec![("read".to_owned(), Nanos(3)), (BUILD_ENGINES.to_owned(), Nanos(70))]);
    assert_eq!(LoadReport { parts, proof, ..LoadReport::default() }.apart(), Nanos(75));
    assert_eq!(LoadReport::default().apart(), Nanos(0));
}

#[test]
fn decode_fraction_is_a_share_of_each_call() {
    let mut run = Run::measured(&FOUR[..2], &[shape("s", 8, 1, 50)], 3, |model, _, i| match model.name {
        "a" => (10.0, 90.0 + f64::from(i)),
        _ => (50.0, 50.0),
    });
    degrade(run.find("a-s-1-50-timed-0002"), Degraded::Error, "");
    let tables = run.tables();
    let rows: Vec<_> = tables.decode_fraction.iter().map(|row| (row.n, row.decode_fraction)).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].0, rows[1]), (2, (3, 0.5)));
    close(rows[0].1, f64::midpoint(0.9, 91.0 / 101.0));
    close(tables.decode_fraction_summary[0].decode_fraction_median, f64::midpoint(rows[0].1, 0.5));
}

#[test]
fn power_and_work_outside_the_engine_go_with_their_phase() {
    let mut run = one_cell();
    let call = run.find("a-s-1-50-timed-0000");
    call.outside_engine_ns = Some(Nanos::from_ms(5.0));
    call.spans[0].power_mean_w = Some(20.0);
    call.spans[1].power_mean_w = Some(31.0);
    call.memory.kv_bytes = Some(Bytes(7));
    call.memory.device_used_bytes = Some(Bytes(9));
    let tables = run.tables();
    let of = |mode| MetricColumns::of(metric(&tables, "a-s-1-50-timed-0000", mode));
    assert_eq!((of(Mode::Prefill).power_mean_w, of(Mode::KvDecode).power_mean_w), (Some(20.0), Some(31.0)));
    close(of(Mode::E2eKv).power_mean_w.unwrap(), (10.0 * 20.0 + 100.0 * 31.0) / 110.0);
    assert_eq!(of(Mode::KvDecode).outside_engine_us_per_step, Some(100.0));
    assert_eq!((of(Mode::Prefill).outside_engine_ms, of(Mode::E2eKv).outside_engine_ms), (None, None));
    assert_eq!((of(Mode::Prefill).kv_bytes, of(Mode::Prefill).device_used_bytes), (Some(7), Some(9)));
    assert_eq!(metric(&tables, "a-s-1-50-timed-0001", Mode::E2eKv).power_mean_w(), None);
}

#[test]
fn what_did_not_count_is_counted() {
    let mut run = one_cell();
    degrade(run.find("a-s-1-50-timed-0001"), Degraded::Oom, "first");
    degrade(run.find("a-s-1-50-timed-0002"), Degraded::Oom, "second");
    degrade(run.find("a-s-1-50-timed-0003"), Degraded::Error, "third");
    let cell = run.plan.cells[0].clone();
    let skipped = SkippedCell { cell: cell.clone(), rule: "skip".to_owned(), reason: "minutes per call".to_owned() };
    run.plan.skipped.push(skipped);
    let decision =
        Decision { cell_id: cell.id, rule: Rule::SessionLost, calls_ok: 1, relative_ci: None, why: "gone".to_owned() };
    run.lines.push(Line::Decision(decision.into()));
    let tables = run.tables();
    let rows: Vec<_> = tables.degraded.iter().map(|r| (r.key.is_some(), r.kind, r.calls, r.degraded)).collect();
    assert_eq!(
        rows,
        [
            (false, None, 5, 3),
            (false, Some(Degraded::Error), 5, 1),
            (false, Some(Degraded::Oom), 5, 2),
            (true, None, 5, 3),
            (true, Some(Degraded::Error), 5, 1),
            (true, Some(Degraded::Oom), 5, 2),
        ]
    );
    assert_eq!((tables.degraded[0].rate, tables.degraded[0].first_detail.as_deref()), (Some(0.6), Some("first")));
    assert_eq!((tables.skipped[0].rule.as_str(), tables.skipped[0].reason.as_str()), ("skip", "minutes per call"));
    assert_eq!((tables.decisions[0].rule, tables.decisions[0].calls_ok), (Rule::SessionLost, 1));
}

#[test]
fn models_are_described_as_each_backend_loads_them() {
    let tables = Run::measured(&[model("m", 3.0, 2)], &[shape("s", 1, 1, 1)], 1, |_, _, _| (1.0, 1.0)).tables();
    let row = &tables.model_architecture[0];
    assert_eq!((row.model.as_str(), row.backend.as_str(), row.source.as_str()), ("m", "eng", "m"));
    assert_eq!((row.params, row.params_millions_effective), (Some(3_000_000), Some(3.0)));
    // 2 tensors × 2 layers × 64 wide × 4 bytes.
    assert_eq!((row.kv_bytes_per_token, row.bytes, row.head_dim), (Some(1024), Some(4), Some(32)));
}

proptest! {
    #[test]
    fn the_order_of_calls_changes_no_median(order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let shapes = [shape("s", 8, 1, 50), shape("t", 4, 2, 50)];
        let run = Run::measured(&FOUR[..1], &shapes, 5, |_, shape, i| {
            (f64::from(shape.prompt + i * i % 7), f64::from(3 * i % 5 + 1))
        });
        let mut mixed = run.clone();
        let calls: Vec<Line> = run.lines.iter().filter(|line| matches!(line, Line::Call(_))).cloned().collect();
        let places = mixed.lines.iter_mut().filter(|line| matches!(line, Line::Call(_)));
        for (place, from) in places.zip(&order) {
            *place = calls[*from].clone();
        }
        let medians = |run: &Run| -> Vec<_> {
            let row = |r: &SummaryRow| (r.key.cell_id.clone(), r.mode, r.n, r.median_ms.to_bits(), r.max_ms.to_bits());
            let mut rows: Vec<_> = run.tables().summary.iter().map(row).collect();
            rows.sort();
            rows
        };
        prop_assert_eq!(medians(&mixed), medians(&run));
    }
}

/// A server that keeps prompts, whose calls are known only when all are: a repeat on purpose took 2 ms, evaluating takes 40.
#[test]
fn a_prefill_as_short_as_a_kept_prompt_s_is_flagged_and_counts() {
    use phasebench::terms::kept_prompt::{PROMPT_BEGIN, REPEATED_PREFILL};

    let shapes = [shape("s", 8, 1, 50)];
    // The very first timed call is the short one: nothing could be said of it when it was made.
    let law = |_, _, index| (if index == 0 { 2.5 } else { 40.0 }, 10.0);
    let mut run = Run::measured(&FOUR[..1], &shapes, 6, law);
    let suspects = |run: &Run| -> Vec<String> {
        let metrics = run.tables().metrics;
        let flagged = metrics.iter().filter(|row| row.flags.contains(Flag::Suspect));
        flagged.map(|row| format!("{} {}", row.call_id, row.mode)).collect()
    };
    assert_eq!(suspects(&run), [] as [String; 0], "no repeat is known");
    for (number, call) in run.calls().enumerate() {
        call.attribution.evidence.shown.insert(PROMPT_BEGIN.to_owned(), format!("n{number}"));
        if number == 3 {
            call.engine_ns.insert(REPEATED_PREFILL.to_owned(), Nanos(2_000_000));
        }
    }
    assert_eq!(suspects(&run), ["a-s-1-50-timed-0000 prefill", "a-s-1-50-timed-0000 e2e_kv"]);
    let summary = run.tables().summary;
    let row = summary.iter().find(|row| row.mode == Mode::Prefill).unwrap();
    assert_eq!((row.n, row.n_flagged, row.min_ms, row.median_ms), (6, 1, 2.5, 40.0));

    // A prompt sent twice on one load, which took neither: whatever was said of it then, it proves nothing.
    let last = run.calls().last().unwrap();
    last.attribution.evidence.shown.insert(PROMPT_BEGIN.to_owned(), "n5".to_owned());
    last.spans[0].begin_ns = last.spans[0].end_ns - Nanos(20_000_000);
    let found = suspects(&run);
    assert!(found.contains(&"a-s-1-50-timed-0005 prefill".to_owned()), "{found:?}");
}
