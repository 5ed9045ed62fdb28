//! Where a session's nodes were placed, as evidence of what ran.

use std::collections::BTreeMap;

use super::raw::Node;
use crate::scenario::Provider;
use crate::terms::{Attribution, Evidence};

/// Operators that make shapes, wherever they stand. The runtime keeps them on the host beside a device on purpose.
const SHAPES: [&str; 4] = ["Concat", "ConstantOfShape", "Shape", "Size"];

/// Operators that compute with shapes where the exporter says so; elsewhere the same ones work on activations.
const INDICES: [&str; 7] = ["Add", "Cast", "Gather", "Range", "Squeeze", "Sub", "Unsqueeze"];

/// Scope of the exporter's node names under which lengths and positions are computed.
const SCOPE: &str = "shape/";

/// What is known of where a session's nodes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// The runtime's record of where it assigned each.
    Assigned(Vec<Node>),
    /// Those that ran in one profiled call.
    Profiled(Vec<Node>),
    /// Neither could be had, and why.
    None(String),
}

impl Proof {
    /// Whether a session was loaded for it.
    pub(super) fn took_long(&self) -> bool {
        !matches!(self, Self::Assigned(_))
    }

    fn nodes(&self) -> &[Node] {
        match self {
            Self::Assigned(nodes) | Self::Profiled(nodes) => nodes,
            Self::None(_) => &[],
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Assigned(_) => "the runtime's record of where it assigned each node".to_owned(),
            Self::Profiled(_) => "the runtime's profile of one call that is not timed".to_owned(),
            Self::None(why) => format!("none: {why}"),
        }
    }
}

/// What the placement proves. `actual` is the requested provider only if every node that computes is there;
/// otherwise it is `None` and `off_provider_ops` lists what ran elsewhere.
#[must_use]
pub(super) fn attribution(requested: Provider, proof: &Proof) -> Attribution {
    let requested = requested.name();
    let mut placed = BTreeMap::<&str, u32>::new();
    let (mut host_side, mut fallen) = (BTreeMap::new(), BTreeMap::new());
    for node in proof.nodes() {
        *placed.entry(&node.provider).or_default() += 1;
        if node.provider != requested {
            let list = if is_host_side(node) { &mut host_side } else { &mut fallen };
            *list.entry(node.operator.as_str()).or_default() += 1;
        }
    }
    if !placed.contains_key(requested) {
        // Beside nothing, nothing is side work.
        fallen.append(&mut host_side);
    }
    let mut shown: BTreeMap<_, _> =
        placed.iter().map(|(provider, count)| (format!("nodes.{provider}"), count.to_string())).collect();
    shown.insert("placement".to_owned(), proof.words());
    if !host_side.is_empty() {
        shown.insert("host_shape_ops".to_owned(), list(&host_side));
    }
    let off_provider_ops = (!fallen.is_empty()).then(|| list(&fallen));
    let evidence = Evidence { off_provider_ops, shown, ..Evidence::default() };
    let proven = placed.contains_key(requested) && fallen.is_empty();
    Attribution { requested: requested.to_owned(), actual: proven.then(|| requested.to_owned()), evidence }
}

fn is_host_side(node: &Node) -> bool {
    let operator = node.operator.as_str();
    SHAPES.contains(&operator) || (node.name.starts_with(SCOPE) && INDICES.contains(&operator))
}

/// `Concat×2 Shape×1`
fn list(operators: &BTreeMap<&str, u32>) -> String {
    let each: Vec<_> = operators.iter().map(|(operator, count)| format!("{operator}×{count}")).collect();
    each.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(provider: &str, name: &str, operator: &str) -> Node {
        Node { provider: provider.to_owned(), name: name.to_owned(), operator: operator.to_owned() }
    }

    #[test]
    fn host_side_shape_operators_do_not_take_the_device_away() {
        let found = attribution(
            Provider::Cuda,
            &Proof::Assigned(vec![
                node("CUDAExecutionProvider", "h.0.mlp/MatMul_7", "MatMul"),
                node("CPUExecutionProvider", "shape/Shape_0", "Shape"),
                node("CPUExecutionProvider", "shape/Gather_1", "Gather"),
                node("CPUExecutionProvider", "h.0.attn/Concat_9", "Concat"),
                node("CPUExecutionProvider", "h.1.attn/Concat_19", "Concat"),
            ]),
        );
        assert_eq!(found.actual.as_deref(), Some("CUDAExecutionProvider"));
        assert_eq!(found.evidence.shown["nodes.CUDAExecutionProvider"], "1");
        assert_eq!(found.evidence.shown["nodes.CPUExecutionProvider"], "4");
        assert_eq!(found.evidence.shown["host_shape_ops"], "Concat×2 Gather×1 Shape×1");
    }

    #[test]
    fn one_computing_node_elsewhere_does() {
        for (name, operator) in [("h.0.attn/Softmax_8", "Softmax"), ("embed/Gather_3", "Gather"), ("", "Sub")] {
            let found = attribution(
                Provider::Cuda,
                &Proof::Profiled(vec![
                    node("CUDAExecutionProvider", "h.0.mlp/MatMul_7", "MatMul"),
                    node("CPUExecutionProvider", name, operator),
                ]),
            );
            assert_eq!(found.actual, None, "{name}");
            assert_eq!(found.evidence.off_provider_ops, Some(format!("{operator}×1")));
        }
    }

    #[test]
    fn no_record_proves_nothing() {
        let found = attribution(Provider::Cpu, &Proof::None("no room for a profile".to_owned()));
        assert_eq!(found.actual, None);
        assert_eq!(found.evidence.shown["placement"], "none: no room for a profile");
        assert_eq!(attribution(Provider::Cpu, &Proof::Assigned(Vec::new())).actual, None);
        let elsewhere = vec![node("CPUExecutionProvider", "shape/Shape_0", "Shape")];
        assert_eq!(attribution(Provider::Cuda, &Proof::Assigned(elsewhere)).actual, None);
    }
}
