//! What the machine's speeds mean for an engine, in sentences.

use std::collections::BTreeMap;

use super::found::Found;
use crate::report::format;
use crate::speed::Cache;
use crate::terms::Kernel;
use crate::units::{Bytes, significant};

/// From this share of the best on, more threads are not worth saying.
const AS_FAST: f64 = 0.95;
/// Below this share, plain pages are worth a sentence.
const SLOW_PAGES: f64 = 0.9;
/// Others' share of the processors from which on the speeds are not the machine's.
const DISTURBED: f64 = 0.05;

/// `1 thread`, `2 threads`.
pub(super) fn threads(count: u32) -> String {
    if count == 1 { "1 thread".to_owned() } else { format!("{count} threads") }
}

/// Caches by level, e.g. `; caches: L1 2 × 32.0 KiB`. Empty: none is known.
pub(super) fn caches(caches: &[Cache]) -> String {
    let mut of_level: BTreeMap<(u32, Bytes), usize> = BTreeMap::new();
    caches.iter().for_each(|cache| *of_level.entry((cache.level, cache.bytes)).or_default() += 1);
    let told = of_level.iter().map(|((level, bytes), count)| match count {
        1 => format!("L{level} {bytes}"),
        _ => format!("L{level} {count} × {bytes}"),
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { String::new() } else { format!("; caches: {}", told.join(", ")) }
}

/// What went on meanwhile, for the end of a line. Empty: nothing that matters.
pub(super) fn beside(found: &Found) -> String {
    let foreign = found.foreign_cpu.filter(|share| *share > DISTURBED);
    foreign
        .map(|share| format!("; too low: other programs used {} of the processors", format::percent(share)))
        .unwrap_or_default()
}

/// Everything worth saying, a sentence each.
pub(super) fn sentences(found: &Found) -> Vec<String> {
    [disturbed(found), stolen(found), memory(found), pages(found), compute(found), meaning_for_decode(found)]
        .into_iter()
        .flatten()
        .collect()
}

/// The fewest threads that are nearly as fast as the fastest.
fn memory(found: &Found) -> Option<String> {
    let rows = || found.speeds.iter().filter(|row| row.kernel == Kernel::Memory);
    let best = rows().max_by(|a, b| a.per_second.total_cmp(&b.per_second))?;
    let enough = rows().find(|row| row.per_second >= AS_FAST * best.per_second)?;
    let speed = significant(enough.per_second / 1e9, 3);
    let more = rows().any(|row| row.threads > enough.threads);
    let rest = if more { "; more read no faster" } else { "" };
    Some(
        format!("memory: {} read {speed} GB/s{rest}", threads(enough.threads))
            .replace("1 thread read", "1 thread reads"),
    )
}

/// Whether weights on plain pages are read more slowly.
fn pages(found: &Found) -> Option<String> {
    let counts = found.thread_counts();
    let share = |threads: &u32| {
        Some(found.of(Kernel::MemoryPlain, *threads)?.per_second / found.of(Kernel::Memory, *threads)?.per_second)
    };
    let slowest = counts.iter().filter_map(share).min_by(f64::total_cmp).filter(|share| *share < SLOW_PAGES)?;
    let huge = found.machine.huge_pages.as_deref();
    let help = match huge {
        Some("madvise" | "never") => "; root could try: echo always > /sys/kernel/mm/transparent_hugepage/enabled",
        _ => "",
    };
    Some(format!(
        "pages: on those that a program gets unasked memory is read at down to {} of that speed, and so are weights that an engine \
         puts there{help}",
        format::percent(slowest)
    ))
}

fn compute(found: &Found) -> Option<String> {
    let effective = found.effective_processors?;
    let most = found.thread_counts().pop()?;
    let usable = found.machine.usable();
    Some(format!(
        "compute: {most} threads do the work of {} processors; this process may use {usable}",
        significant(effective, 3)
    ))
}

/// The roofline in one sentence.
fn meaning_for_decode(found: &Found) -> Option<String> {
    let best = |kernel| {
        let rates = found.speeds.iter().filter(move |row| row.kernel == kernel).map(|row| row.per_second);
        rates.max_by(f64::total_cmp)
    };
    let (memory, compute) = (best(Kernel::Memory)?, best(Kernel::Compute)?);
    let (step, prefill) = (significant(1e12 / memory, 3), significant(2e12 / compute, 3));
    Some(format!(
        "so a decode step that reads 1 GB of weights takes {step} ms or more, and 1000 million parameters take {prefill} ms or more \
         for each token of a prompt in f32"
    ))
}

fn disturbed(found: &Found) -> Option<String> {
    let share = found.foreign_cpu.filter(|share| *share > DISTURBED)?;
    let share = format::percent(share);
    Some(format!("too low: other programs used {share} of the processors meanwhile; measure again when they are done"))
}

fn stolen(found: &Found) -> Option<String> {
    let share = found.steal.filter(|share| *share > DISTURBED)?;
    Some(format!("the hypervisor took {} of the processors' time away meanwhile", format::percent(share)))
}
