//! What the columns of `power_trace.csv` mean, which the run itself writes.

use crate::analysis::columns::{Column, Description};
use crate::store::POWER_TRACE;

/// What the file holds, without a run.
#[must_use]
pub fn description() -> Description {
    let columns = [
        Column::of::<u32>("epoch", &["Process of the run, on whose clock the times are."]),
        Column::of::<String>("sensor", &["Sensor by its name in `manifest.json`."]),
        Column::of::<String>("register", &["Register by its name there, which also tells the unit."]),
        Column::of::<u64>("begin_ns", &["Just before it was asked for."]),
        Column::of::<u64>("end_ns", &["Just after the answer."]),
        Column::of::<Option<f64>>(
            "value",
            &["A counter's reading, power, or a state. `None`: it said nothing.", "Unit: the register's."],
        ),
        Column::of::<Option<String>>("fault", &["Why it said nothing. `None`: it did."]),
    ];
    Description {
        file: POWER_TRACE,
        about:
            "Every reading of every register of every power sensor, as they came. Only runs that record power have it."
                .to_owned(),
        columns: columns.map(Column::with_own_name).into(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::store::TraceRow;
    use crate::units::Nanos;

    #[test]
    fn they_are_those_of_the_file() {
        let row = TraceRow {
            epoch: 0,
            sensor: "s".to_owned(),
            register: "r".to_owned(),
            begin_ns: Nanos(0),
            end_ns: Nanos(1),
            value: None,
            fault: None,
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize(row).unwrap();
        let written = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        let names: Vec<String> = description().columns.into_iter().map(|column| column.name).collect();
        assert_eq!(written.lines().next(), Some(names.join(",").as_str()));
    }
}
