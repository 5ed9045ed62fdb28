//! Names that one part of a scenario file gives and another refers to.

use super::node::Node;
use super::problem::Problem;
use super::typed::{items, text};

/// Reports a name under `key` that nothing on the `axis` of the file has.
pub fn check(file: &Node, node: &Node, key: &str, axis: &str, problems: &mut Vec<Problem>) {
    let (Some(at), Some(name)) = (node.get(key).map(|n| n.at), text(node, key)) else {
        return;
    };
    let known: Vec<&str> = items(file, axis).iter().filter_map(|item| text(item, "name")).collect();
    if !known.contains(&name) {
        problems.push(Problem::new(at, format!("there is no {key} `{name}`")).known(name, &known));
    }
}
