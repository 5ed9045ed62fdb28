//! Prices and workload as a user names them: what `cost`, `decide` and `report` price a run with, and the tables of it.

use std::path::Path;

use crate::analysis::Tables;
use crate::commands::CommandError;
use crate::commands::error::NoTier;
use crate::cost::bill::{self, Bill};
use crate::record::plan::PlannedWorkload;
use crate::run_folder::RunFolder;
use crate::scenario::pricing::Tier;
use crate::scenario::workload::{Bin, Bins, Requests, Slo};
use crate::scenario::{self, Pricing, Workload, pricing, workload};
use crate::store::{PLAN, SPEC, StoreError};

/// Files of prices and requests, read.
pub struct Order {
    /// Prices.
    pub pricing: Pricing,
    /// The requests. `None`: none were named, and a million tokens of each phase is all.
    pub workload: Option<Workload>,
    /// The workload's requests by length. `None`: no workload, or one of blends.
    bins: Option<Bins>,
    /// Where the workload is from, if a run names one.
    notes: Vec<String>,
}

impl Order {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be read, or has problems.
    pub fn read(pricing: &Path, workload: Option<&Path>) -> Result<Self, CommandError> {
        let pricing = pricing::read(pricing)?;
        let workload = workload.map(workload::read).transpose()?;
        let bins = workload.as_ref().map(|workload| workload.requests.bins()).transpose()?.flatten();
        Ok(Self { pricing, workload, bins, notes: Vec::new() })
    }

    /// Takes up the workload that a run's scenario file named, unless another was named here.
    ///
    /// # Errors
    /// The run's plan holds a workload that it cannot have.
    pub fn of_run(&mut self, run: &RunFolder) -> Result<(), CommandError> {
        let Some(planned) = &run.plan.workload else { return Ok(()) };
        let (own, bins) = recorded(planned, &run.path.join(PLAN))?;
        self.notes.push(match &self.workload {
            Some(given) => {
                format!("workload `{}` stands in place of `{}`, which the scenario file names", given.name, own.name)
            }
            None => {
                format!("workload `{}` is the one that the scenario file names, as it was before the run", own.name)
            }
        });
        if self.workload.is_none() {
            (self.workload, self.bins) = (Some(own), bins);
        }
        Ok(())
    }

    /// Leaves out the tiers that are not named, in the order of the names; all stay where none is named.
    ///
    /// # Errors
    /// A name that is no tier.
    pub fn keep_tiers(&mut self, names: &[String]) -> Result<(), NoTier> {
        if names.is_empty() {
            return Ok(());
        }
        let of = |name: &String| self.pricing.tiers.iter().find(|tier| tier.name == *name).ok_or_else(|| name.clone());
        let kept = names.iter().map(of).map(|tier| tier.cloned()).collect::<Result<Vec<Tier>, String>>();
        let known = || self.pricing.tiers.iter().map(|tier| format!("`{}`", tier.name)).collect::<Vec<_>>().join(", ");
        self.pricing.tiers = kept.map_err(|name| NoTier { name, of: self.pricing.name.clone(), known: known() })?;
        Ok(())
    }

    /// Adds what the workload does not ask itself to how fast its answers must be; without a workload there is nothing to add to, and
    /// cells are asked instead.
    pub fn demand(&mut self, slos: &[Slo]) {
        let Some(workload) = &mut self.workload else { return };
        for slo in slos {
            if !workload.slos.contains(slo) {
                workload.slos.push(*slo);
            }
        }
    }

    /// Whether requests are named, by length.
    pub fn has_requests(&self) -> bool {
        self.bins.is_some()
    }

    /// Longest prompt and answer together. Unit: tokens. `None`: no requests by length.
    pub fn longest_request(&self) -> Option<u64> {
        let bins = self.bins.as_ref()?.bins.iter();
        bins.map(|bin| u64::from(bin.prompt) + u64::from(bin.generated)).max()
    }

    /// The workload with its requests by length.
    pub fn requests(&self) -> Option<(&Workload, Option<&Bins>)> {
        self.workload.as_ref().map(|workload| (workload, self.bins.as_ref()))
    }

    /// What a run costs. Machines are held against hire for `months`; if `None`, for the hardware's, else [`bill::MONTHS`].
    /// `success` are success rates by model.
    ///
    /// # Errors
    /// The run's scenario file cannot be read.
    pub fn bill(
        &self,
        run: &RunFolder,
        tables: &Tables,
        months: Option<f64>,
        success: &[(String, f64)],
    ) -> Result<Bill, CommandError> {
        let lived = self.pricing.hardware.map(|hardware| hardware.months);
        let scenario = scenario::read_text(&run.path.join(SPEC))?;
        let order = bill::Order {
            pricing: &self.pricing,
            workload: self.requests(),
            months: months.or(lived).unwrap_or(bill::MONTHS),
            scenario: &scenario,
            success,
        };
        let mut bill = bill::of_run(tables, &run.manifest, &run.plan, order);
        bill.notes.splice(0..0, self.notes.iter().cloned());
        if !success.is_empty() && self.bins.is_none() {
            bill.notes.push("--success: no requests are named, so that no model is held against another".to_owned());
        }
        Ok(bill)
    }
}

/// A workload as a plan keeps it; `path` is the plan's. No other file is read.
fn recorded(planned: &PlannedWorkload, path: &Path) -> Result<(Workload, Option<Bins>), CommandError> {
    let workload = workload::parse(&planned.text, path, Path::new(""))?;
    let bins = match (&workload.requests, &planned.counted) {
        (Requests::Mix(_) | Requests::Blends(_), _) => workload.requests.bins()?,
        (Requests::Histogram(_) | Requests::Log(_), Some(counted)) => {
            let bin = |(prompt, generated, weight): &(u32, u32, f64)| Bin {
                prompt: *prompt,
                generated: *generated,
                weight: *weight,
            };
            Some(Bins {
                bins: counted.lengths.iter().map(bin).collect(),
                rows: counted.rows,
                weightless: counted.weightless,
                without_counts: counted.without_counts,
            })
        }
        (Requests::Histogram(_) | Requests::Log(_), None) => {
            let why = "its workload names a file of which nothing was counted".to_owned();
            return Err(StoreError::Content { path: path.display().to_string(), why }.into());
        }
    };
    Ok((workload, bins))
}
