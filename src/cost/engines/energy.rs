//! Energy of an engine, where it may be counted.

use std::collections::BTreeMap;

use crate::analysis::energy::{EnergyScope, U_SYS};
use crate::analysis::{EnergySummaryRow, SummaryRow, Tables};
use crate::economics::figures::{Figure, FigureId, Figures, Product, Sum};
use crate::economics::request_time::{Measured, RequestTime};
use crate::terms::{Attribution, Mode, SensorKind};

/// Energy of an engine, of grade C or better in every cell.
#[derive(Debug, Clone)]
pub struct Energy {
    /// Of a call. Unit: joules.
    pub of_call: RequestTime,
    /// Of a million prompt tokens. Unit: joules.
    pub prefill_million_j: Sum,
    /// The same of tokens written.
    pub decode_million_j: Sum,
    /// The same of each cell: those of prefill, then those of decode. Unit: joules.
    pub million_j: Vec<Product>,
    /// The sensor.
    pub sensor: String,
}

/// Energy where every cell has a figure that may be counted, from one sensor that is the device's own.
pub(super) fn energy(
    prefill: &[&SummaryRow],
    decode: &[&SummaryRow],
    tables: &Tables,
    figures: &mut Figures,
    gains: &mut BTreeMap<String, FigureId>,
) -> Result<Energy, String> {
    if tables.energy_summary.is_empty() {
        return Err("no power was recorded".to_owned());
    }
    let mut found = Vec::new();
    for row in prefill.iter().chain(decode) {
        let graded = graded(row, &tables.energy_summary)?;
        found.push((*row, graded));
    }
    let sensor = found.first().and_then(|(_, row)| row.sensor.clone()).unwrap_or_default();
    if found.iter().any(|(_, row)| row.sensor.as_deref() != Some(&sensor)) {
        return Err("its cells were charged to several sensors".to_owned());
    }
    let gain =
        *gains.entry(sensor.clone()).or_insert_with(|| figures.add(Figure { value: 1.0, log_error: U_SYS, df: None }));
    let mut million_j = Vec::new();
    let mut of_phase = |is_prefill: bool, figures: &mut Figures| {
        let mut cells = Vec::new();
        let mut sum = Sum::default();
        let own: Vec<_> = found.iter().filter(|(row, _)| (row.mode == Mode::Prefill) == is_prefill).collect();
        for (row, energy) in &own {
            let joules = per_token(energy).ok_or("a cell's energy per token is not known")?;
            let prompt = row.prompt_tokens.ok_or("a cell's prompt is not known")?;
            let tokens_of_call = f64::from(row.key.batch) * if is_prefill { prompt } else { 1.0 };
            let figure = figures.add(Figure { value: joules.value * tokens_of_call, ..joules });
            let million = Product { scale: 1e6 / tokens_of_call, powers: vec![(figure, 1.0), (gain, 1.0)] };
            #[expect(clippy::cast_precision_loss, reason = "a count of cells")]
            let scale = million.scale / own.len() as f64;
            sum.add(&Product { scale, powers: million.powers.clone() }, figures);
            million_j.push(million);
            cells.push(Measured { prompt, steps: f64::from(row.key.gen_tokens), figure });
        }
        Ok::<_, String>((cells, sum))
    };
    let (prefill_cells, prefill_million_j) = of_phase(true, figures)?;
    let (decode_cells, decode_million_j) = of_phase(false, figures)?;
    let of_call = RequestTime::new(&prefill_cells, &decode_cells, Some(gain)).ok_or("a phase has no figure")?;
    Ok(Energy { of_call, prefill_million_j, decode_million_j, million_j, sensor })
}

/// Energy per token with its own error; the sensor's gain is drawn apart, for it is the same in all.
fn per_token(row: &EnergySummaryRow) -> Option<Figure> {
    let value = row.j_per_token.filter(|joules| *joules > 0.0)?;
    Some(Figure { value, log_error: row.u_stat?, df: None })
}

/// The best figure of a cell: from its calls, else from what was repeated for the sensor.
pub(super) fn graded<'a>(row: &SummaryRow, energies: &'a [EnergySummaryRow]) -> Result<&'a EnergySummaryRow, String> {
    let of_cell: Vec<&EnergySummaryRow> = energies
        .iter()
        .filter(|energy| {
            energy.mode == row.mode && energy.key.cell_id == row.key.cell_id && energy.key.dtype == row.key.dtype
        })
        .collect();
    let wanted = [EnergyScope::Natural, EnergyScope::Looped, EnergyScope::Isolated];
    let figure = |scope: EnergyScope| of_cell.iter().copied().find(|e| e.scope == scope && e.j_per_token.is_some());
    let Some(best) = wanted.into_iter().find_map(figure) else {
        let reasons = of_cell.iter().map(|energy| energy.reasons.as_str()).find(|reasons| !reasons.is_empty());
        let why = reasons.unwrap_or("not recorded");
        return Err(format!("{} of {} has no graded figure ({why})", row.mode, row.key.scenario));
    };
    owned(row.actual.as_deref(), best.sensor.as_deref())?;
    Ok(best)
}

/// Whether a sensor tells of the device that computed: a processor's energy is its package's, never what a GPU draws while
/// it idles beside it.
pub(in crate::cost) fn owned(actual: Option<&str>, sensor: Option<&str>) -> Result<(), String> {
    let ran_on = Attribution { actual: actual.map(str::to_owned), ..Attribution::default() };
    let kind = sensor.and_then(|id| id.split(':').next()?.parse::<SensorKind>().ok());
    let sensor = sensor.unwrap_or("no sensor");
    match (ran_on.device(), kind) {
        (Some(None), Some(SensorKind::Nvml)) => {
            Err(format!("{sensor} is a GPU's sensor, and the processor computed: its energy is that of its package"))
        }
        (Some(Some(_)), Some(SensorKind::Rapl)) => {
            Err(format!("{sensor} is the processor's sensor, and a GPU computed"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reports' CPU rows hold 3.5 W, which is what the GPU draws while it idles.
    #[test]
    fn a_processors_energy_is_never_an_idle_gpus() {
        assert!(owned(Some("CPUExecutionProvider"), Some("nvml:0")).is_err());
        assert!(owned(Some("cpu"), Some("rapl")).is_ok());
        assert!(owned(Some("CUDAExecutionProvider"), Some("nvml:0")).is_ok());
        assert!(owned(Some("cuda:0"), Some("rapl")).is_err());
    }
}
