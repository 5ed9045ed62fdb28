//! Names that one part of a scenario file gives and another refers to.

use std::collections::HashSet;

use super::node::Node;
use super::problem::Problem;
use super::typed::{items, text};

/// The names on one axis of a file, looked up as often as something refers to them.
pub struct Names<'a> {
    in_order: Vec<&'a str>,
    known: HashSet<&'a str>,
}

impl<'a> Names<'a> {
    /// The names on this axis.
    #[must_use]
    pub fn of(file: &'a Node, axis: &str) -> Self {
        let in_order: Vec<&str> = items(file, axis).iter().filter_map(|item| text(item, "name")).collect();
        let known = in_order.iter().copied().collect();
        Self { in_order, known }
    }

    /// Reports a name under `key` that is none of them.
    pub fn check(&self, node: &Node, key: &str, problems: &mut Vec<Problem>) {
        let (Some(at), Some(name)) = (node.get(key).map(|n| n.at), text(node, key)) else {
            return;
        };
        if !self.known.contains(name) {
            problems.push(Problem::new(at, format!("there is no {key} `{name}`")).known(name, &self.in_order));
        }
    }
}
