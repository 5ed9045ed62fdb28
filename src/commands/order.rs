//! Prices and workload as a user names them: what `cost` and `decide` price a run with.

use std::path::Path;

use crate::analysis::Tables;
use crate::commands::CommandError;
use crate::cost::bill::{self, Bill};
use crate::run_folder::RunFolder;
use crate::scenario::workload::Bins;
use crate::scenario::{self, Pricing, Workload, pricing, workload};
use crate::store::SPEC;

/// Files of prices and requests, read.
pub struct Order {
    /// Prices.
    pub pricing: Pricing,
    /// The requests. `None`: none were named, and a million tokens of each phase is all.
    pub workload: Option<Workload>,
    /// The workload's requests by length. `None`: no workload, or one of blends.
    bins: Option<Bins>,
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
        Ok(Self { pricing, workload, bins })
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
        Ok(bill::of_run(tables, &run.manifest, order))
    }
}
