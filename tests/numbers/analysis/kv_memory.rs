//! The KV cache in theory, and as engines allocated it.

use phasebench::analysis::KvEmpiricalRow;
use phasebench::units::Bytes;

use crate::analysis::run::{Run, model, shape};

/// Three layers of width 64 in f32: 2 × 3 × 64 × 4 bytes a token.
const PER_TOKEN: u64 = 1536;

fn run() -> Run {
    let shapes = [shape("s", 8, 2, 50), shape("t", 16, 1, 50)];
    let mut run = Run::measured(&[model("b", 4.0, 3)], &shapes, 3, |_, _, _| (1.0, 50.0));
    for call in run.calls() {
        // The second cell's engine allocates in blocks of 64 tokens.
        let tokens = if call.scenario == "s" { 2 * 58 } else { 128 };
        call.memory.kv_bytes = Some(Bytes(tokens * PER_TOKEN));
    }
    run
}

#[test]
fn what_was_allocated_stands_beside_theory_to_the_byte() {
    let tables = run().tables();
    let of = |row: &KvEmpiricalRow| {
        (row.key.scenario.clone(), row.n, row.tokens_held, row.theory_bytes, row.allocated_bytes, row.difference)
    };
    let found: Vec<_> = tables.kv_memory_empirical.iter().map(of).collect();
    let (same, blocks) = (2 * 58 * PER_TOKEN, 128 * PER_TOKEN);
    let expected = [
        ("s".to_owned(), 3, 58, Some(same), same, Some(0)),
        ("t".to_owned(), 3, 66, Some(66 * PER_TOKEN), blocks, Some((62 * PER_TOKEN) as i64)),
    ];
    assert_eq!(found, expected);
    assert_eq!(tables.kv_memory_empirical[1].difference_relative, Some(62.0 / 66.0));
}

#[test]
fn theory_holds_no_more_than_the_longest_context() {
    let tables = run().tables();
    let of = |element: &str, context: u64| {
        let rows = &tables.kv_memory_theoretical;
        rows.iter().find(|row| row.element == element && row.context == context).unwrap().clone()
    };
    assert_eq!(of("f32", 64).kv_mib.to_bits(), ((64 * PER_TOKEN) as f64 / 1_048_576.0).to_bits());
    assert_eq!(of("f32", 64).share_of_weights, Some((64 * PER_TOKEN) as f64 / 16e6));
    assert_eq!((of("f16", 64).kv_bytes_per_token, of("8-bit", 64).kv_bytes_per_token), (PER_TOKEN / 2, PER_TOKEN / 4));
    assert_eq!(of("8-bit", 64).share_of_weights, None);
    let (longest, beyond) = (of("f32", 1024), of("f32", 2048));
    assert_eq!((longest.beyond_longest, beyond.beyond_longest), (false, true));
    assert_eq!(longest.kv_mib.to_bits(), beyond.kv_mib.to_bits());
    let crossover = &tables.kv_crossover_points[0];
    assert_eq!((crossover.element.as_str(), crossover.crossover), ("f32", 16_000_000 / PER_TOKEN));
    assert!(crossover.beyond_longest && crossover.multi_head_ratio.is_none());
}

#[test]
fn an_engine_that_tells_nothing_has_no_row() {
    let mut run = run();
    run.calls().for_each(|call| call.memory.kv_bytes = None);
    assert!(run.tables().kv_memory_empirical.is_empty());
}
