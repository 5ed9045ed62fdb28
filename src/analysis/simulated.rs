//! `SIMULATED.txt`: what of a run comes from a script, for a reader who opens a table without the report.

use std::collections::BTreeSet;

use crate::record::manifest::Manifest;

/// What is scripted, in whole sentences. `None`: nothing is.
pub(super) fn derive(manifest: &Manifest) -> Option<String> {
    let backends = manifest.stack.backends.iter();
    let clocks: Vec<&str> = backends.filter(|(_, entry)| entry.is_scripted()).map(|(name, _)| name.as_str()).collect();
    let powers = manifest.epochs.iter().filter_map(|epoch| epoch.power.as_ref());
    let sensors: BTreeSet<&str> = powers
        .flat_map(|power| &power.found.sensors)
        .filter(|sensor| sensor.simulated)
        .map(|sensor| sensor.id.as_str())
        .collect();
    if clocks.is_empty() && sensors.is_empty() {
        return None;
    }
    let mut text = "SIMULATED: not everything in these tables was measured.\n".to_owned();
    if !clocks.is_empty() {
        text.push_str(&format!(
            "Every time of these backends comes from a script and says nothing about any machine: {}.\n",
            clocks.join(", ")
        ));
    }
    if !sensors.is_empty() {
        let names: Vec<&str> = sensors.into_iter().collect();
        text.push_str(&format!(
            "Power, energy and temperature of these sensors come from a script: {}. Every row that holds any of it names \
             the sensor.\n",
            names.join(", ")
        ));
    }
    Some(text)
}
