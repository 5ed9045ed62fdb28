//! Cells that ran on an NVIDIA board, beside what that board's memory was measured at in the run.

use std::collections::BTreeMap;

use phasebench::analysis::{HeldBy, RooflineRow, Tables};
use phasebench::record::manifest::{BackendEntry, Gpu};
use phasebench::record::{Line, ReferenceRecord, ReferenceWhen};
use phasebench::roofline::{Demand, Use};
use phasebench::terms::{Attribution, BoardSpeed, Evidence, Kernel, Mode, Procedure};
use phasebench::units::{Bytes, Nanos};

use super::run::{Run, model, shape};

const UUID: &str = "GPU-abababab-abab-abab-abab-ababababab00";
const OTHER: &str = "GPU-abababab-abab-abab-abab-ababababab01";

/// A model whose calls all ran on the first board that CUDA shows, which the engine names where `evidence` does.
fn run(evidence: &[(&str, &str)]) -> Run {
    let law = |_, _, index| (2.0, 4.0 + 0.01 * f64::from(index));
    let mut run = Run::measured(&[model("a", 1.0, 2)], &[shape("p", 16, 1, 8)], 12, law);
    let entry = BackendEntry {
        engine: "an engine".to_owned(),
        version: None,
        facts: BTreeMap::from([("intra_op_threads".to_owned(), "2".to_owned())]),
        boundary: BTreeMap::new(),
        procedures: Procedure::ALL.to_vec(),
        max_resident: None,
        token_times: true,
        virtual_clock: false,
    };
    run.manifest.stack.backends.insert("eng".to_owned(), entry);
    run.manifest.stack.gpus.devices.clear();
    let texts = evidence.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let attribution = Attribution {
        requested: "cuda:0".to_owned(),
        actual: Some("cuda:0".to_owned()),
        evidence: Evidence::from(
            texts.chain([("script".to_owned(), "this test".to_owned())]).collect::<BTreeMap<_, _>>(),
        ),
    };
    for call in run.calls() {
        call.attribution = attribution.clone().into();
    }
    run
}

/// The tables where these boards were measured twice.
fn tables(mut run: Run, boards: &[BoardSpeed]) -> Tables {
    for (reference_index, when) in [(0, ReferenceWhen::Begin), (1, ReferenceWhen::Between)] {
        let record = ReferenceRecord {
            reference_index,
            when,
            epoch: 0,
            begin_ns: Nanos(1),
            end_ns: Nanos(2),
            buffer_bytes: Bytes(1),
            last_level_cache_bytes: Some(Bytes(1 << 40)),
            speeds: Vec::new(),
            boards: boards.to_vec(),
            foreign_cpu: Some(0.0),
        };
        run.lines.insert(2, Line::Reference(Box::new(record)));
    }
    run.tables()
}

fn board(uuid: &str, per_second: &[f64]) -> BoardSpeed {
    BoardSpeed {
        uuid: Some(uuid.to_owned()),
        name: Some("a board".to_owned()),
        l2_bytes: Some(Bytes(1 << 20)),
        buffer_bytes: Some(Bytes(1 << 30)),
        per_second: per_second.to_vec(),
        not_measured: None,
    }
}

fn row(tables: &Tables, mode: Mode) -> Option<&RooflineRow> {
    tables.roofline.iter().find(|row| row.mode == mode)
}

#[test]
fn a_cell_is_set_beside_the_board_that_it_ran_on() {
    let named = [("device.uuid", UUID)];
    let tables = tables(run(&named), &[board(OTHER, &[9e12]), board(UUID, &[1e12, 3e12, 2e12])]);
    let decode = row(&tables, Mode::KvDecode).unwrap();
    assert_eq!(decode.board.as_deref(), Some(UUID));
    assert_eq!((decode.memory_roof, decode.memory_plain_roof, decode.compute_roof), (Some(2e12), None, None));
    assert_eq!((decode.threads, decode.fits_cache), (None, Some(false)), "the processor's caches are nothing to it");
    let shape = phasebench::terms::model::Synthetic::new(phasebench::terms::model::Family::Gpt2, 2, 64, 2);
    let demand =
        Demand::of_step(&shape.architecture().unwrap(), Use { element_bytes: 4, batch: 1, prompt: 16, steps: 8 });
    let share = demand.bytes() / (decode.step_ms / 1e3) / 2e12;
    assert!((decode.memory_share.unwrap() / share - 1.0).abs() < 1e-12, "{decode:?}");
    let ceiling = 2e12 / demand.bytes();
    assert!((decode.ceiling_tokens_per_s.unwrap() / ceiling - 1.0).abs() < 1e-12, "{decode:?}");
    assert_eq!((decode.compute_share, decode.held_by), (None, None));
    // What a board computes is not known, and may be the nearer roof of a prefill.
    let prefill = row(&tables, Mode::Prefill).unwrap();
    assert!(prefill.memory_share.is_some());
    assert_eq!((prefill.ceiling_tokens_per_s, prefill.held_by), (None, None));

    // A board as fast as makes that four fifths of it.
    let slower = decode.achieved_bytes_per_s / 0.8;
    let slow = self::tables(run(&named), &[board(UUID, &[slower])]);
    assert_eq!(row(&slow, Mode::KvDecode).unwrap().held_by, Some(HeldBy::Memory));
    let too_slow = self::tables(run(&named), &[board(UUID, &[slower / 2.0])]);
    let exceeded = row(&too_slow, Mode::KvDecode).unwrap();
    assert_eq!((exceeded.held_by, exceeded.ceiling_tokens_per_s), (None, None));
}

#[test]
fn every_board_has_rows_of_its_own_and_reasons_stand_in_place_of_figures() {
    let failed = BoardSpeed { not_measured: Some("its memory is full".to_owned()), ..board(OTHER, &[]) };
    let unreached = BoardSpeed::unreached("no driver".to_owned());
    let tables = tables(run(&[]), &[board(UUID, &[1e12, 3e12, 2e12]), failed, unreached]);
    let told: Vec<_> = (tables.machine.iter())
        .map(|row| (row.kernel, row.threads, row.board.as_deref(), row.n, row.per_second, row.not_measured.as_deref()))
        .collect();
    let once = [
        (Kernel::DeviceCopy, None, Some(UUID), 3, Some(2e12), None),
        (Kernel::DeviceCopy, None, Some(OTHER), 0, None, Some("its memory is full")),
        (Kernel::DeviceCopy, None, None, 0, None, Some("no driver")),
    ];
    assert_eq!(told, [once, once].as_flattened());
    assert!(tables.machine.iter().all(|row| row.foreign_cpu.is_none()));
    assert_eq!(tables.machine[0].relative, Some(1.0));
}

/// Without a figure of the very board there is no roof.
#[test]
fn a_board_that_was_not_measured_or_is_not_told_has_no_roof() {
    let measured = [board(UUID, &[1e12])];
    let gpu = |uuid: &str| Gpu {
        name: None,
        uuid: Some(uuid.to_owned()),
        memory_bytes: None,
        compute_capability: None,
        power_limit_w: None,
        ecc: None,
        mig: None,
    };
    let of = |evidence: &[(&str, &str)], gpus: &[&str], boards: &[BoardSpeed]| {
        let mut run = run(evidence);
        run.manifest.stack.gpus.devices = gpus.iter().map(|uuid| gpu(uuid)).collect();
        tables(run, boards).roofline.len()
    };
    assert_eq!(of(&[("device.uuid", OTHER)], &[], &measured), 0);
    assert_eq!(of(&[], &[], &measured), 0, "nothing tells which board it was");
    assert_eq!(of(&[], &[UUID], &measured), 2, "there is no other");
    assert_eq!(of(&[], &[UUID, OTHER], &measured), 0, "it may have been either");
    let failed = [BoardSpeed { not_measured: Some("its memory is full".to_owned()), ..board(UUID, &[]) }];
    assert_eq!(of(&[("device.uuid", UUID)], &[], &failed), 0);
    assert_eq!(of(&[("device.uuid", UUID)], &[], &[]), 0);
}
