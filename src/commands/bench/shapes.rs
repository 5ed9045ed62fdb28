//! Shapes of made models by name: those of the scenarios that ship, so that a name means the same in both.

use std::path::Path;

use crate::model::Form;
use crate::scenario;
use crate::terms::model::Synthetic;

/// Scenarios that ship, with the models whose names can be asked for.
const SHIPPED: [&str; 2] =
    [include_str!("../../../scenarios/tr121_scaling.yaml"), include_str!("../../../scenarios/depth_width.yaml")];

/// Every shape with its name, in the order of the files.
fn all() -> Vec<(String, Synthetic)> {
    let files = SHIPPED.iter().filter_map(|text| scenario::parse(text, Path::new("shipped"), Path::new("")).ok());
    let models = files.flat_map(|file| file.models);
    let made = models.filter_map(|model| match model.form {
        Form::Synthetic(recipe) => Some((model.name, recipe)),
        _ => None,
    });
    made.collect()
}

/// The shape of this name. `None`: there is none.
pub fn find(name: &str) -> Option<Synthetic> {
    all().into_iter().find(|(other, _)| other == name).map(|(_, recipe)| recipe)
}

/// Names of all shapes.
pub fn names() -> Vec<String> {
    all().into_iter().map(|(name, _)| name).collect()
}
