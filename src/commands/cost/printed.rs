//! A bill, and a priced table, on the terminal.

use std::io::Write;

use crate::commands::CommandError;
use crate::commands::columns::aligned_table;
use crate::cost::bill::{Bill, Money, energy_told, percent, with_interval};
use crate::cost::rates::{self, PricedTable, Rule};
use crate::cost::request::{Coverage, ENOUGH};
use crate::economics::figures::Uncertain;
use crate::report::document::{Table, Text};
use crate::scenario::Pricing;
use crate::units::{Bytes, significant};

/// Where it is printed, and in which money.
pub(super) struct Printed<'a> {
    /// Where.
    pub(super) out: &'a mut dyn Write,
    /// The pricing file's.
    pub(super) currency: &'a str,
    /// The first tier.
    pub(super) tier: &'a str,
}

fn or_dash(value: Option<Uncertain>) -> String {
    value.map_or_else(|| "-".to_owned(), with_interval)
}

fn total(cost: &Money) -> String {
    with_interval(cost.total)
}

fn covered(coverage: &Coverage) -> String {
    let mut text = percent(coverage.share);
    for outside in &coverage.outside {
        text.push_str(&format!("; {}: {}", outside.reach, percent(outside.share)));
    }
    text
}

impl Printed<'_> {
    fn lines(&mut self, heading: &str, table: &Table) -> Result<(), CommandError> {
        if table.rows.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "\n{heading}")?;
        for line in aligned_table(table) {
            writeln!(self.out, "  {line}")?;
        }
        Ok(())
    }

    fn notes(&mut self, notes: &[String]) -> Result<(), CommandError> {
        for note in notes {
            writeln!(self.out, "note: {note}")?;
        }
        Ok(())
    }

    pub(super) fn bill(&mut self, bill: &Bill, pricing: &Pricing) -> Result<(), CommandError> {
        let workload = bill.workload.as_deref().map(|name| format!(", workload {name}")).unwrap_or_default();
        writeln!(self.out, "prices {} in {}{workload}; brackets are 95 % intervals", bill.pricing, bill.currency)?;
        self.notes(&bill.notes)?;
        self.phases(bill)?;
        self.beside_phases(bill)?;
        self.requests(bill)?;
        self.decision(bill)?;
        self.load(bill, pricing)?;
        self.warm_pools(bill)?;
        self.models(bill)?;
        let Some(file) = &bill.missing_scenario else { return Ok(()) };
        writeln!(
            self.out,
            "\nThis scenario file {}. Save it beside the one that the run was made from:\n\n{file}",
            bill.missing_measures()
        )?;
        Ok(())
    }

    fn phases(&mut self, bill: &Bill) -> Result<(), CommandError> {
        let first = bill.phases.iter().filter(|row| row.tier == self.tier);
        let table = Table::of(first)
            .words("engine", |row| row.engine.to_string())
            .words("phase", |row| row.phase.as_str())
            .number("total", "", |row| total(&row.cost))
            .number("machine", "", |row| with_interval(row.cost.infrastructure))
            .number("energy", "", |row| energy_told(&row.cost).unwrap_or_else(|| "-".to_owned()))
            .words("", |row| row.cost.scope.to_string())
            .captioned(Text::default());
        self.lines(&format!("a million tokens, {} on {}", self.currency, self.tier), &table)
    }

    /// What other tiers save, and how engines differ over cells; what each cell costs is in a file.
    fn beside_phases(&mut self, bill: &Bill) -> Result<(), CommandError> {
        let table = Table::of(&bill.tiers)
            .words("tier", |row| row.tier.as_str())
            .number("an hour", "", |row| significant(row.per_hour, 3))
            .number("saves", "", |row| {
                row.saves_percent.map_or_else(|| "-".to_owned(), |saved| format!("{saved:.1} %"))
            })
            .words("", |row| if row.owned { "a machine of one's own, spread over its life" } else { "" })
            .captioned(Text::default());
        self.lines(&format!("the machine's time, {}, against {}", self.currency, self.tier), &table)?;
        let or_none = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| significant(value, 3));
        let table = Table::of(&bill.comparisons)
            .words("phase", |row| row.phase.as_str())
            .words("one", |row| row.first.to_string())
            .words("other", |row| row.second.on())
            .number("cells", "", |row| row.cells.to_string())
            .number("one's mean", "", |row| significant(row.mean_first, 3))
            .number("other's mean", "", |row| significant(row.mean_second, 3))
            .number("Cohen's d", "", |row| or_none(row.cohen_d))
            .number("p, Student", "", |row| or_none(row.student_p))
            .number("p, Welch", "", |row| or_none(row.welch_p))
            .words("", |row| row.scope.to_string())
            .captioned(Text::default());
        self.lines(
            &format!("a million tokens with cells as samples, as reports test, {} on {}", self.currency, self.tier),
            &table,
        )
    }

    fn requests(&mut self, bill: &Bill) -> Result<(), CommandError> {
        let table = Table::of(&bill.requests)
            .words("engine", |row| row.engine.to_string())
            .number("seconds", "", |row| or_dash(row.seconds))
            .number("joules", "", |row| or_dash(row.joules))
            .number("by mean rates", "", |row| {
                row.by_mean_rates_percent.map_or_else(|| "-".to_owned(), |p| format!("{p:+.1} %"))
            })
            .number("cheapest in", "", |row| row.cheapest_in.map_or_else(|| "-".to_owned(), percent))
            .words("covered", |row| covered(&row.coverage))
            .captioned(Text::default());
        self.lines("the mean request that was measured", &table)?;
        let mut said: Vec<&str> = Vec::new();
        for row in &bill.requests {
            let Some(why) = row.no_energy.as_deref().filter(|why| !said.contains(why)) else { continue };
            said.push(why);
            let all = bill.requests.iter().all(|other| other.no_energy.as_deref() == Some(why));
            let of = if all { "every engine".to_owned() } else { row.engine.to_string() };
            writeln!(self.out, "  note: {of}: infrastructure only: {why}")?;
        }
        let table = Table::of(&bill.thousands)
            .words("engine", |row| row.engine.to_string())
            .words("tier", |row| row.tier.as_str())
            .number("total", "", |row| total(&row.cost))
            .number("energy", "", |row| energy_told(&row.cost).unwrap_or_else(|| "-".to_owned()))
            .words("", |row| row.cost.scope.to_string())
            .number("a million tokens of them", "", |row| with_interval(row.per_million_tokens))
            .number("covered", "", |row| percent(row.coverage))
            .captioned(Text::default());
        self.lines(&format!("a thousand requests, {}", self.currency), &table)?;
        let table = Table::of(&bill.shapes)
            .words("engine", |row| row.engine.to_string())
            .words("shape", |row| row.shape.as_str())
            .number("seconds", "", |row| or_dash(row.seconds))
            .number("a thousand", "", |row| row.cost.as_ref().map_or_else(|| "-".to_owned(), total))
            .words("", |row| row.cost.as_ref().map(|cost| cost.scope.to_string()).unwrap_or_default())
            .words("", |row| row.reach.to_string())
            .captioned(Text::default());
        self.lines(&format!("each shape, {} on {}", self.currency, self.tier), &table)?;
        let table = Table::of(&bill.routing)
            .words("best alone", |row| row.alone.to_string())
            .words("and besides", |row| if row.others.is_empty() { "-" } else { row.others.as_str() })
            .number("requests there", "", |row| percent(row.routed))
            .number("saves", "%", |row| with_interval(row.saved_percent))
            .number("a thousand", "", |row| with_interval(row.saved_per_thousand))
            .number("a month", "", |row| or_dash(row.saved_per_month))
            .words("", |row| row.scope.to_string())
            .number("covered", "", |row| percent(row.coverage))
            .captioned(Text::default());
        self.lines(&format!("what a router would save, {} on {}", self.currency, self.tier), &table)?;
        let table = Table::of(&bill.slos)
            .words("engine", |row| row.engine.to_string())
            .words("of", |row| row.of.as_str())
            .number("percentile", "", |row| row.percentile.to_string())
            .number("within", "ms", |row| significant(row.within_ms, 4))
            .number("found", "ms", |row| row.found_ms.map_or_else(|| "-".to_owned(), |ms| significant(ms, 3)))
            .words("", |row| match (row.holds, &row.withheld) {
                (Some(true), _) => "holds, waiting for a worker left out".to_owned(),
                (Some(false), _) => "missed".to_owned(),
                (None, why) => format!("withheld: {}", why.as_deref().unwrap_or_default()),
            })
            .number("covered", "", |row| percent(row.coverage))
            .captioned(Text::default());
        self.lines("how fast answers are", &table)
    }

    /// Which engine, where enough of the workload was measured to say so.
    fn decision(&mut self, bill: &Bill) -> Result<(), CommandError> {
        for row in &bill.requests {
            if row.coverage.share < ENOUGH {
                let most = row.coverage.within_contexts();
                let beyond = (most < ENOUGH).then(|| format!("; at most {} fit into its context", percent(most)));
                writeln!(
                    self.out,
                    "no decision for {}: {} of the workload was measured, and {} are needed{}",
                    row.engine,
                    percent(row.coverage.share),
                    percent(ENOUGH),
                    beyond.unwrap_or_default()
                )?;
            }
        }
        Ok(())
    }

    fn load(&mut self, bill: &Bill, pricing: &Pricing) -> Result<(), CommandError> {
        let count = |value: Uncertain| match value.low.zip(value.high) {
            Some((low, high)) => format!("{:.0} [{low:.0}, {high:.0}]", value.value),
            None => format!("{:.0}", value.value),
        };
        let table = Table::of(&bill.capacity)
            .words("engine", |row| row.engine.to_string())
            .number("workers, at least", "", |row| count(row.workers))
            .number("exactly", "", |row| significant(row.workers_exactly, 3))
            .number("busy", "", |row| row.busy.map_or_else(|| "-".to_owned(), percent))
            .number("mean wait by M/G/1", "s", |row| {
                row.mean_wait_model_s.map_or_else(|| "-".to_owned(), |s| significant(s, 3))
            })
            .number("covered", "", |row| percent(row.coverage))
            .captioned(Text::default());
        let load = bill.capacity.first().map(|row| {
            let limit = percent(pricing.utilisation);
            format!("workers for {} requests/s, bursts of {}, filled to {limit}: a lower bound without queueing; the wait is a \
                     model, not a measurement", significant(row.requests_per_s, 3), significant(row.burst, 3))
        });
        self.lines(&load.unwrap_or_default(), &table)?;
        let table = Table::of(&bill.months)
            .words("engine", |row| row.engine.to_string())
            .words("tier", |row| row.tier.as_str())
            .number("for the work", "", |row| total(&row.for_work))
            .number("for whole workers", "", |row| with_interval(row.hired))
            .number("energy of idle time", "", |row| or_dash(row.idle_energy))
            .words("", |row| row.scope.to_string())
            .number("covered", "", |row| percent(row.coverage))
            .captioned(Text::default());
        self.lines(&format!("a month of 30 days, {}", self.currency), &table)?;
        let table = Table::of(&bill.break_even)
            .words("engine", |row| row.engine.to_string())
            .words("against", |row| row.tier.as_str())
            .number("machines", "", |row| count(row.machines))
            .number("bought, once", "", |row| with_interval(row.once))
            .number("bought, a month", "", |row| with_interval(row.bought_month))
            .number("hired, a month", "", |row| with_interval(row.hired_month))
            .number("pays after", "months", |row| row.months.map_or_else(|| "never".to_owned(), with_interval))
            .words("", |row| row.scope.to_string())
            .words("", |row| if row.pays { "" } else { "not within its life" })
            .number("covered", "", |row| percent(row.coverage))
            .captioned(Text::default());
        self.lines(&format!("a machine of one's own, {}", self.currency), &table)?;
        let months = bill.tco.first().map(|row| row.months).unwrap_or_default();
        let table = Table::of(&bill.tco)
            .words("engine", |row| row.engine.to_string())
            .words("tier", |row| row.tier.as_str())
            .number("total", "", |row| with_interval(row.total))
            .words("", |row| row.scope.to_string())
            .number("covered", "", |row| percent(row.coverage))
            .captioned(Text::default());
        self.lines(&format!("over {} months, {}", significant(months, 3), self.currency), &table)
    }

    fn warm_pools(&mut self, bill: &Bill) -> Result<(), CommandError> {
        let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |bytes| Bytes(bytes).to_string());
        let table = Table::of(&bill.warm_pools)
            .words("model", |row| row.model.as_str())
            .words("backend", |row| row.backend.as_str())
            .words("prompt", |row| row.prompt().to_string())
            .number("load", "ms", |row| significant(row.load_ms, 3))
            .number("cold start", "ms", |row| row.cold_ms.map_or_else(|| "-".to_owned(), |ms| significant(ms, 3)))
            .number("warm", "ms", |row| significant(row.warm_ms, 3))
            .number("memory", "", |row| size(row.host_bytes))
            .number("of the device", "", |row| size(row.device_bytes))
            .number("idle", "W", |row| or_dash(row.idle_watts))
            .number("energy of a month of it", "", |row| or_dash(row.idle_month))
            .number("machine's time of a cold start", "", |row| {
                row.cold_start.map_or_else(|| "-".to_owned(), |cost| significant(cost, 3))
            })
            .number("pays from cold starts a month", "", |row| or_dash(row.pays_from))
            .captioned(Text::default());
        self.lines(&format!("keeping a model loaded, {} on {}", self.currency, self.tier), &table)
    }

    fn models(&mut self, bill: &Bill) -> Result<(), CommandError> {
        let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), percent);
        let table = Table::of(&bill.models)
            .words("dearer", |row| row.dearer.to_string())
            .words("cheaper", |row| row.cheaper.to_string())
            .number("times the cost", "", |row| with_interval(row.ratio))
            .number("cheaper succeeds in", "", |row| rate(row.success_of_cheaper))
            .number("dearer must in", "%", |row| or_dash(row.needed.map(|needed| needed.times(100.0))))
            .number("or a failure cost", "", |row| or_dash(row.value_of_failure))
            .words("", |row| row.scope.to_string())
            .words("", |row| match (row.is_out_of_reach(), row.feasible) {
                (true, _) => "no success rate is as high",
                (false, Some(false)) => "perhaps no success rate is as high",
                (false, _) => "",
            })
            .number("covered", "", |row| percent(row.coverage))
            .captioned(Text::default());
        self.lines(
            &format!("a dearer model per request, {} on {}; quality is not measured", self.currency, self.tier),
            &table,
        )
    }

    pub(super) fn table(&mut self, priced: &PricedTable) -> Result<(), CommandError> {
        let workload = priced.workload.as_deref().map(|name| format!(", workload {name}")).unwrap_or_default();
        writeln!(
            self.out,
            "prices {} in {}{workload}, rule {}",
            priced.pricing,
            priced.currency,
            priced.rule.as_str()
        )?;
        self.notes(&priced.notes)?;
        let of = |labels: &rates::Labels| labels.values().cloned().collect::<Vec<_>>().join(", ");
        let table = Table::of(&priced.phases)
            .words("rows", |row| of(&row.of))
            .words("phase", |row| row.phase.as_str())
            .words("tier", |row| row.tier.as_str())
            .number("tokens/s", "", |row| significant(row.tokens_per_s, 4))
            .number("total", "", |row| significant(row.total, 4))
            .number("energy", "", |row| row.cost.energy.map_or_else(|| "-".to_owned(), |e| significant(e, 4)))
            .words("", |row| row.scope.to_string())
            .captioned(Text::default());
        self.lines(&format!("a million tokens, {}", self.currency), &table)?;
        let other = if priced.rule == Rule::Measured { Rule::Tr119 } else { Rule::Measured };
        let table = Table::of(&priced.requests)
            .words("rows", |row| of(&row.of))
            .words("tier", |row| row.tier.as_str())
            .number("seconds each", "", |row| significant(row.seconds, 4))
            .number("total", "", |row| significant(row.total, 4))
            .words("", |row| row.scope.to_string())
            .number(&format!("by rule {}", other.as_str()), "", |row| {
                row.other_rule_percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:+.1} %"))
            })
            .words("covered", |row| row.coverage.as_ref().map_or_else(|| "in proportion".to_owned(), covered))
            .captioned(Text::default());
        self.lines(&format!("a thousand requests, {}", self.currency), &table)
    }
}
