//! The recipe of a synthetic model; its own rules are the model module's.

use serde::de::DeserializeOwned;

use super::node::Node;
use super::problem::Problem;
use crate::model::Error;
use crate::terms::model::{Dtype, Family, Synthetic};

/// Reports the rule that a recipe breaks, at the key that breaks it.
pub fn check(node: &Node, problems: &mut Vec<Problem>) {
    let Some(Err(error)) = build(node).map(|recipe| recipe.architecture()) else {
        return;
    };
    problems.push(match error {
        Error::Recipe { field, value, allowed } => {
            let at = node.get(field).map_or(node.at, |n| n.at);
            Problem::new(at, format!("`{field}` is {value}, allowed: {allowed}"))
        }
        other => Problem::new(node.at, other.to_string()),
    });
}

/// The recipe. `None`: a key is missing or wrong in a way that [`super::check`] has reported.
pub fn build(node: &Node) -> Option<Synthetic> {
    let size = |key: &str| node.get(key)?.whole::<usize>();
    let mut recipe =
        Synthetic::new(word::<Family>(node.get("family")?)?, size("n_layer")?, size("n_embd")?, size("n_head")?);
    for (key, value) in [("n_kv_head", &mut recipe.n_kv_head), ("n_inner", &mut recipe.n_inner)] {
        if let Some(given) = node.get(key) {
            *value = Some(given.whole()?);
        }
    }
    for (key, value) in [("vocab", &mut recipe.vocab), ("n_positions", &mut recipe.n_positions)] {
        if let Some(given) = node.get(key) {
            *value = given.whole()?;
        }
    }
    if let Some(dtype) = node.get("dtype") {
        recipe.dtype = word::<Dtype>(dtype)?;
    }
    if let Some(seed) = node.get("seed") {
        recipe.seed = seed.whole()?;
    }
    Some(recipe)
}

fn word<T: DeserializeOwned>(node: &Node) -> Option<T> {
    serde_json::from_value(node.text()?.into()).ok()
}
