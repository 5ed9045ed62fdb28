//! Where a session's nodes were placed, as evidence of what ran.

use std::collections::BTreeMap;

use crate::spec::Provider;
use crate::terms::Attribution;

/// Operators that compute shapes and indices. The runtime keeps them on the host beside a device on purpose;
/// none of them does arithmetic on activations.
const HOST_SIDE: [&str; 10] =
    ["Cast", "Concat", "ConstantOfShape", "Gather", "Range", "Shape", "Size", "Slice", "Squeeze", "Unsqueeze"];

/// Name of a provider in ONNX Runtime.
#[must_use]
pub fn name(provider: Provider) -> &'static str {
    match provider {
        Provider::Cpu => "CPUExecutionProvider",
        Provider::Cuda => "CUDAExecutionProvider",
    }
}

/// What the placement proves. `actual` is the requested provider only if every node that computes is there;
/// otherwise it is `None` and `off_provider_ops` lists what ran elsewhere.
#[must_use]
pub fn attribution(requested: Provider, placed: &BTreeMap<String, BTreeMap<String, u32>>) -> Attribution {
    let requested = name(requested);
    let mut evidence = BTreeMap::new();
    let (mut host_side, mut fallen) = (Vec::new(), Vec::new());
    for (provider, operators) in placed {
        evidence.insert(format!("nodes.{provider}"), operators.values().sum::<u32>().to_string());
        if provider == requested {
            continue;
        }
        for (operator, count) in operators {
            let allowed = HOST_SIDE.contains(&operator.as_str());
            let list = if allowed { &mut host_side } else { &mut fallen };
            list.push(format!("{operator}×{count}"));
        }
    }
    if !host_side.is_empty() {
        evidence.insert("host_shape_ops".to_owned(), host_side.join(" "));
    }
    let proven = placed.contains_key(requested) && fallen.is_empty();
    if !fallen.is_empty() {
        evidence.insert("off_provider_ops".to_owned(), fallen.join(" "));
    }
    Attribution { requested: requested.to_owned(), actual: proven.then(|| requested.to_owned()), evidence }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(nodes: &[(&str, &str, u32)]) -> BTreeMap<String, BTreeMap<String, u32>> {
        let mut placed = BTreeMap::<_, BTreeMap<_, _>>::new();
        for &(provider, operator, count) in nodes {
            placed.entry(provider.to_owned()).or_default().insert(operator.to_owned(), count);
        }
        placed
    }

    #[test]
    fn host_side_shape_operators_do_not_take_the_device_away() {
        let found = attribution(
            Provider::Cuda,
            &placed(&[
                ("CUDAExecutionProvider", "MatMul", 12),
                ("CUDAExecutionProvider", "Add", 8),
                ("CPUExecutionProvider", "Shape", 2),
            ]),
        );
        assert_eq!(found.actual.as_deref(), Some("CUDAExecutionProvider"));
        assert_eq!(found.evidence["nodes.CUDAExecutionProvider"], "20");
        assert_eq!(found.evidence["host_shape_ops"], "Shape×2");
    }

    #[test]
    fn one_computing_node_elsewhere_does() {
        let found = attribution(
            Provider::Cuda,
            &placed(&[("CUDAExecutionProvider", "MatMul", 12), ("CPUExecutionProvider", "Softmax", 1)]),
        );
        assert_eq!(found.actual, None);
        assert_eq!(found.evidence["off_provider_ops"], "Softmax×1");
    }

    #[test]
    fn no_record_proves_nothing() {
        assert_eq!(attribution(Provider::Cpu, &BTreeMap::new()).actual, None);
        let all_elsewhere = placed(&[("CPUExecutionProvider", "Shape", 1)]);
        assert_eq!(attribution(Provider::Cuda, &all_elsewhere).actual, None);
    }
}
