//! `phasebench fit`: the fits of the analysis on any table.

use std::io::Write;

use serde::Serialize;

use crate::analysis::scaling::resampling;
use crate::cli::FitArgs;
use crate::commands::CommandError;
use crate::exit::Exit;
use crate::stats::gate::{Gate, judge};
use crate::stats::interval::Interval;
use crate::stats::{InputError, brief, fit, multivariate, rank};
use crate::units::significant;

mod table;

use table::{Group, Table};

/// Fits and prints.
///
/// # Errors
/// [`CsvError`](crate::scenario::CsvError) for a table or column that cannot be used, standard output refuses.
pub fn execute(args: &FitArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let table = Table::read(args)?;
    if args.json {
        let fits: Vec<Fit> = table.groups.iter().flat_map(|group| fits(group, args)).collect();
        writeln!(out, "{:#}", serde_json::to_value(fits)?)?;
        return Ok(Exit::Good);
    }
    let (x, y) = (&args.x, &args.y);
    for group in &table.groups {
        let name = match (&args.group, &group.name) {
            (Some(column), Some(name)) => format!("{column} {name}: "),
            _ => String::new(),
        };
        let second = args.x2.as_ref().map(|x2| format!(" and {x2}")).unwrap_or_default();
        writeln!(out, "{name}{y} against {x}{second}, {} rows", group.x.len())?;
        for fit in fits(group, args) {
            writeln!(out, "  {}", described(&fit, args))?;
        }
    }
    if table.left_out > 0 {
        let rows = if table.left_out == 1 { "row without a value is" } else { "rows without a value are" };
        writeln!(out, "{} {rows} left out", table.left_out)?;
    }
    Ok(Exit::Good)
}

/// One fit for scripts. What a form does not have, or a sample does not define, is null.
#[derive(Debug, Serialize)]
struct Fit {
    /// Value of the `--group` column.
    group: Option<String>,
    /// `power_law`, `affine`, `rank` or `multivariate`.
    form: &'static str,
    /// Rows fitted.
    n: usize,
    /// Exponent of x (power law, multivariate), change of y per x (affine).
    slope: Option<f64>,
    /// ln y at x = 1 (power law, multivariate), y at x = 0 (affine).
    intercept: Option<f64>,
    /// `1 − SSE/SST`; of ln y for power law and multivariate.
    r2: Option<f64>,
    /// 95 % t interval of the slope.
    ci_t: Option<[f64; 2]>,
    /// 95 % bootstrap interval of the slope.
    ci_bootstrap: Option<[f64; 2]>,
    /// How the bootstrap interval came about.
    bootstrap: Option<String>,
    /// Whether the fit may be acted on; null for `rank`, which has no gate.
    actionable: Option<bool>,
    /// Why not, or why there is no fit.
    reason: Option<String>,
    /// Exponent of the second predictor.
    slope_x2: Option<f64>,
    /// Its 95 % t interval.
    ci_t_x2: Option<[f64; 2]>,
    /// Condition number of the two predictors.
    condition_number: Option<f64>,
    /// Spearman's ρ.
    rho: Option<f64>,
    /// Its p by Student's t.
    p_t: Option<f64>,
    /// Its p over all orders.
    p_exact: Option<f64>,
}

impl Fit {
    fn new(group: &Group, form: &'static str) -> Self {
        Self {
            group: group.name.clone(),
            form,
            n: group.x.len(),
            slope: None,
            intercept: None,
            r2: None,
            ci_t: None,
            ci_bootstrap: None,
            bootstrap: None,
            actionable: Some(false),
            reason: None,
            slope_x2: None,
            ci_t_x2: None,
            condition_number: None,
            rho: None,
            p_t: None,
            p_exact: None,
        }
    }

    fn judged(mut self, gate: &Gate) -> Self {
        self.actionable = Some(gate.is_actionable());
        self.reason = gate.reason();
        self
    }

    fn without(mut self, error: &InputError, group: &Group, args: &FitArgs) -> Self {
        self.reason = Some(explained(error, group, args));
        self
    }
}

fn ends(interval: Interval) -> Option<[f64; 2]> {
    Some([interval.low, interval.high])
}

/// Why there is no fit, in terms of the file: its columns and lines instead of axes and places.
fn explained(error: &InputError, group: &Group, args: &FitArgs) -> String {
    let column = |axis: &str| match axis {
        "x" | "x1" => args.x.as_str(),
        "x2" => args.x2.as_deref().unwrap_or_default(),
        _ => args.y.as_str(),
    };
    let place = |axis: &str, index: usize| {
        let line = group.lines.get(index).map(|line| format!(" in line {line}")).unwrap_or_default();
        format!("column `{}`{line}", column(axis))
    };
    match error {
        InputError::NotFinite { axis, index, value } => {
            format!("{} is {}, only finite values up to 1e140 can be used", place(axis, *index), brief(*value))
        }
        InputError::NotPositive { axis, index, value } => {
            format!("{} is {}, a logarithm needs positive values", place(axis, *index), brief(*value))
        }
        InputError::Constant { axis } => format!("all values of column `{}` are equal", column(axis)),
        InputError::TooSmall { axis } => {
            let column = column(axis);
            format!(
                "values of column `{column}` differ by less than 1e-152, whose squares are 0: give them in a smaller unit"
            )
        }
        InputError::Collinear
        | InputError::Setting { .. }
        | InputError::TooFew { .. }
        | InputError::Unpaired { .. } => error.to_string(),
    }
}

/// Every form for one group.
fn fits(group: &Group, args: &FitArgs) -> Vec<Fit> {
    let mut fits = vec![power_law(group, args), affine(group, args), spearman(group, args)];
    if let Some(x2) = &group.x2 {
        fits.push(two_predictors(group, x2, args));
    }
    fits
}

fn power_law(group: &Group, args: &FitArgs) -> Fit {
    let mut row = Fit::new(group, "power_law");
    match fit::scaling(&group.x, &group.y) {
        Err(error) => row.without(&error, group, args),
        Ok(found) => {
            row.slope = Some(found.fit.slope().value);
            row.intercept = Some(found.fit.intercept_ln().value);
            row.r2 = Some(found.fit.r2());
            row.ci_t = ends(found.fit.slope().interval);
            row.ci_bootstrap = ends(found.bootstrap.interval);
            row.bootstrap = Some(resampling(found.bootstrap.resampling));
            row.judged(&found.gate)
        }
    }
}

fn affine(group: &Group, args: &FitArgs) -> Fit {
    let mut row = Fit::new(group, "affine");
    match fit::affine(&group.x, &group.y) {
        Err(error) => row.without(&error, group, args),
        Ok(found) => {
            row.slope = Some(found.fit.slope.value);
            row.intercept = Some(found.fit.intercept.value);
            row.r2 = Some(found.fit.r2);
            row.ci_t = ends(found.fit.slope.interval);
            row.ci_bootstrap = ends(found.bootstrap.interval);
            row.bootstrap = Some(resampling(found.bootstrap.resampling));
            row.judged(&found.gate)
        }
    }
}

fn spearman(group: &Group, args: &FitArgs) -> Fit {
    let row = Fit { actionable: None, ..Fit::new(group, "rank") };
    match rank::spearman(&group.x, &group.y) {
        Err(error) => row.without(&error, group, args),
        Ok(found) => Fit { rho: Some(found.rho), p_t: Some(found.p_t), p_exact: found.p_exact, ..row },
    }
}

fn two_predictors(group: &Group, x2: &[f64], args: &FitArgs) -> Fit {
    let mut row = Fit::new(group, "multivariate");
    match multivariate::power_law(&group.x, x2, &group.y) {
        Err(error) => row.without(&error, group, args),
        Ok(plane) => {
            row.slope = Some(plane.first.value);
            row.intercept = Some(plane.intercept.value);
            row.r2 = Some(plane.r2);
            row.ci_t = ends(plane.first.interval);
            row.slope_x2 = Some(plane.second.value);
            row.ci_t_x2 = ends(plane.second.interval);
            row.condition_number = Some(plane.condition_number);
            let intervals = [("t (x)", plane.first.interval), ("t (x2)", plane.second.interval)];
            row.judged(&judge(plane.n, plane.r2, &intervals))
        }
    }
}

/// A figure as people read it: never hundreds of digits.
fn short(value: f64) -> String {
    let plain = value == 0.0 || !value.is_finite() || (1e-6..1e9).contains(&value.abs());
    if plain { significant(value, 3) } else { format!("{value:.2e}") }
}

/// One fit in one line.
fn described(fit: &Fit, args: &FitArgs) -> String {
    let interval = |ends: Option<[f64; 2]>| {
        ends.map_or_else(|| "-".to_owned(), |[low, high]| format!("[{}, {}]", short(low), short(high)))
    };
    let verdict = match (&fit.reason, fit.actionable) {
        (Some(why), Some(_)) => format!("not identifiable: {why}"),
        (Some(why), None) => format!("none: {why}"),
        (None, _) => "actionable".to_owned(),
    };
    let FitArgs { x, y, .. } = args;
    let (Some(slope), Some(intercept), Some(r2)) = (fit.slope, fit.intercept, fit.r2) else {
        return match (fit.rho, fit.p_t) {
            (Some(rho), Some(p)) => {
                let exact = fit.p_exact.map(|p| format!(", {} exact", short(p))).unwrap_or_default();
                format!("rank          ρ {}, p {} by t{exact}", short(rho), short(p))
            }
            _ => format!("{:<13} {verdict}", fit.form),
        };
    };
    let law = match fit.slope_x2 {
        _ if fit.form == "affine" => format!("{y} = {} + {} * {x}", short(intercept), short(slope)),
        None => format!("{y} = {} * {x}^{}", factor(intercept), short(slope)),
        Some(second) => {
            let x2 = args.x2.as_deref().unwrap_or_default();
            format!("{y} = {} * {x}^{} * {x2}^{}", factor(intercept), short(slope), short(second))
        }
    };
    let mut line = format!("{:<13} {law}, R² {}, slope 95 % t {}", fit.form, short(r2), interval(fit.ci_t));
    if fit.ci_bootstrap.is_some() {
        line.push_str(&format!(", bootstrap {}", interval(fit.ci_bootstrap)));
    }
    if fit.ci_t_x2.is_some() {
        line.push_str(&format!(" and {}", interval(fit.ci_t_x2)));
    }
    format!("{line}: {verdict}")
}

/// What a power of x is multiplied by, where its logarithm is this. Beyond what a number can hold, as its power of e.
fn factor(ln: f64) -> String {
    let value = ln.exp();
    if value.is_normal() { short(value) } else { format!("e^{}", short(ln)) }
}
