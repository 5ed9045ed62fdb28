//! Pricing files: what an hour, a kilowatt-hour and a machine of one's own cost.

use std::path::Path;

use serde_json::Value;

use super::node::Node;
use super::problem::{Problem, ScenarioError};
use super::section::{Kind, Section, default, optional, required};
use super::typed::{each, items, number, optional as maybe, owned};
use super::{consistency, read as reading, schema as schemas};

/// A pricing file.
#[derive(Debug, Clone, PartialEq)]
pub struct Pricing {
    /// Names it in output.
    pub name: String,
    /// A label; nothing is converted.
    pub currency: String,
    /// Unit: money per kWh.
    pub per_kwh: f64,
    /// Unit: grams of CO2 equivalent per kWh. `None`: not given, and no carbon is told.
    pub gco2e_per_kwh: Option<f64>,
    /// Never empty; the first one is what figures are in where one tier is enough.
    pub tiers: Vec<Tier>,
    /// A machine that may be bought instead. `None`: none.
    pub hardware: Option<HardwarePrice>,
    /// Power of a machine while nothing runs. Unit: watts. `None`: not known, and no idle time is charged.
    pub idle_watts: Option<f64>,
    /// Share of a worker's time that load may fill, above 0 and up to 1.
    pub utilisation: f64,
}

/// What one machine costs by the hour.
#[derive(Debug, Clone, PartialEq)]
pub struct Tier {
    /// Its name, unique in the file.
    pub name: String,
    /// Unit: money per hour.
    pub per_hour: f64,
    /// The rate is the price of one's own machine spread over its life: it is no hire, and is not charged beside that price.
    pub owned: bool,
}

/// A machine that is bought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HardwarePrice {
    /// Unit: money.
    pub price: f64,
    /// Unit: months.
    pub months: f64,
    /// Unit: money.
    pub resale: f64,
    /// Share of it that this work pays for, above 0 and up to 1.
    pub share_of_use: f64,
}

const fn from(min: f64, max: f64) -> Kind {
    Kind::Number { min, max, above: false, below: false }
}

const fn above_0_to(max: f64) -> Kind {
    Kind::Number { min: 0.0, max, above: true, below: false }
}

const MONEY: Kind = from(0.0, 1e12);
const SHARE: Kind = above_0_to(1.0);

const TIER: Section = Section {
    what: "a tier",
    choice: None,
    fields: &[
        required("name", Kind::Name, "Its name, unique in the file."),
        required("per_hour", MONEY, "What one machine costs per hour."),
        default(
            "owned",
            Kind::Flag,
            "false",
            "The rate is the price of a machine of one's own spread over its life: it is left out where buying is held \
             against hiring, so that hardware is not paid twice.",
        ),
    ],
};

const HARDWARE: Section = Section {
    what: "hardware",
    choice: None,
    fields: &[
        required("price", MONEY, "What one machine costs."),
        required("months", above_0_to(1200.0), "How long it is used."),
        default("resale", MONEY, "0", "What it is sold for after that."),
        default("share_of_use", SHARE, "1", "Share of it that this work pays for."),
    ],
};

const FILE: Section = Section {
    what: "a pricing file",
    choice: None,
    fields: &[
        required("version", Kind::Version, "Version of this format: 1."),
        required("name", Kind::Name, "Names it in output."),
        default("currency", Kind::Text, "USD", "A label; nothing is converted."),
        required("per_kwh", MONEY, "What a kilowatt-hour costs."),
        optional(
            "gco2e_per_kwh",
            from(0.0, 1e6),
            "Grams of CO2 equivalent per kilowatt-hour; no carbon is told without.",
        ),
        required(
            "tiers",
            Kind::List { item: &Kind::Section(&TIER), min: 1, unique: false },
            "What one machine costs by the hour; the first one is what single figures are in.",
        ),
        optional("hardware", Kind::Section(&HARDWARE), "A machine that may be bought instead of hired."),
        optional(
            "idle_watts",
            from(0.0, 1e6),
            "Power of a machine while nothing runs on it; no idle time is charged without.",
        ),
        default("utilisation", SHARE, "1", "Share of a worker's time that load may fill."),
    ],
};

/// Reads and validates a pricing file.
///
/// # Errors
/// It cannot be read, or has problems: all of them are told.
pub fn read(path: &Path) -> Result<Pricing, ScenarioError> {
    parse(&reading::text("pricing file", path)?, path)
}

/// Validates a pricing file's text; `path` is for messages.
///
/// # Errors
/// Every problem of the text.
pub fn parse(text: &str, path: &Path) -> Result<Pricing, ScenarioError> {
    reading::whole(text, path, &FILE, check, build)
}

/// The JSON Schema of pricing files.
#[must_use]
pub fn schema() -> Value {
    schemas::of(&FILE, "phasebench pricing file")
}

fn check(root: &Node, problems: &mut Vec<Problem>) {
    consistency::duplicates(items(root, "tiers"), problems);
    let Some(hardware) = root.get("hardware") else { return };
    if let (Some(price), Some(resale)) = (number(hardware, "price"), number(hardware, "resale"))
        && resale > price
    {
        let at = hardware.get("resale").map_or(hardware.at, |node| node.at);
        problems.push(Problem::new(at, format!("`resale` is {resale}, more than `price`, which is {price}")));
    }
}

fn build(root: &Node) -> Option<Pricing> {
    Some(Pricing {
        name: owned(root, "name")?,
        currency: owned(root, "currency")?,
        per_kwh: number(root, "per_kwh")?,
        gco2e_per_kwh: maybe(root, "gco2e_per_kwh", Node::number)?,
        tiers: each(root, "tiers", tier)?,
        hardware: maybe(root, "hardware", hardware)?,
        idle_watts: maybe(root, "idle_watts", Node::number)?,
        utilisation: number(root, "utilisation")?,
    })
}

fn tier(node: &Node) -> Option<Tier> {
    Some(Tier { name: owned(node, "name")?, per_hour: number(node, "per_hour")?, owned: node.get("owned")?.flag()? })
}

fn hardware(node: &Node) -> Option<HardwarePrice> {
    Some(HardwarePrice {
        price: number(node, "price")?,
        months: number(node, "months")?,
        resale: number(node, "resale")?,
        share_of_use: number(node, "share_of_use")?,
    })
}
