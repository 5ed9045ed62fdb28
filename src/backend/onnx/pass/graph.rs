//! What an exported graph takes and gives, read from the loaded session.

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};

/// An input of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Token ids, `[batch, seq]`.
    Ids,
    /// 1 where a token is, 0 where padding is, `[batch, past + seq]`.
    Mask,
    /// Position of every token in its row, `[batch, seq]`.
    Positions,
    /// A tensor of the KV cache, by slot: keys of layer `i` in `2i`, values in `2i + 1`.
    Past(usize),
}

/// An output of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Logits of the last position, `[batch, 1, vocab]`.
    Logits,
    /// Their arg-max, `[batch, 1]`.
    NextToken,
    /// The grown tensor of the KV cache, by slot.
    Present(usize),
}

/// The graph's interface, in the session's own order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Role of each input.
    pub inputs: Vec<Input>,
    /// Role of each output.
    pub outputs: Vec<Output>,
    /// Tensors of the KV cache: two per layer.
    pub slots: usize,
    /// Heads of keys and values.
    pub heads: i64,
    /// Width of a head.
    pub head_dim: i64,
    /// Element type of the KV cache.
    pub element: TensorElementType,
}

/// Reads a session's interface.
///
/// # Errors
/// Names the input or output that the adapter does not know, or that is missing.
pub fn signature(session: &Session) -> Result<Signature, String> {
    let inputs = session
        .inputs()
        .iter()
        .map(|outlet| input(outlet.name()).ok_or_else(|| format!("unknown input `{}`", outlet.name())))
        .collect::<Result<Vec<_>, _>>()?;
    let outputs = session
        .outputs()
        .iter()
        .map(|outlet| output(outlet.name()).ok_or_else(|| format!("unknown output `{}`", outlet.name())))
        .collect::<Result<Vec<_>, _>>()?;
    for (role, name) in [(Input::Ids, "input_ids"), (Input::Mask, "attention_mask"), (Input::Positions, "position_ids")]
    {
        if !inputs.contains(&role) {
            return Err(format!("the graph has no input `{name}`"));
        }
    }
    let answers = outputs.iter().filter(|o| matches!(o, Output::Logits | Output::NextToken)).count();
    if answers != 1 {
        return Err("the graph must have one of the outputs `logits` and `next_token`".to_owned());
    }
    let slots = inputs.len() - 3;
    let paired = |slot| inputs.contains(&Input::Past(slot)) && outputs.contains(&Output::Present(slot));
    if slots == 0 || outputs.len() != slots + 1 || !(0..slots).all(paired) {
        return Err("the graph's `past_key_values.*` and `present.*` do not pair up".to_owned());
    }
    let presents = outputs.iter().filter_map(|output| match output {
        Output::Present(slot) => Some(*slot),
        Output::Logits | Output::NextToken => None,
    });
    if !presents.eq(0..slots) {
        return Err("the graph's `present.*` are not in the order of its layers".to_owned());
    }
    let (heads, head_dim, element) = cache(session.inputs(), &inputs)?;
    Ok(Signature { inputs, outputs, slots, heads, head_dim, element })
}

/// Shape and element type of the KV cache.
fn cache(outlets: &[Outlet], roles: &[Input]) -> Result<(i64, i64, TensorElementType), String> {
    let first = roles.iter().position(|role| matches!(role, Input::Past(_)));
    match first.map(|i| outlets[i].dtype()) {
        Some(ValueType::Tensor { ty, shape, .. }) if shape.len() == 4 && shape[1] > 0 && shape[3] > 0 => {
            Ok((shape[1], shape[3], *ty))
        }
        _ => Err("`past_key_values.*` is not a tensor [batch, heads, past, width]".to_owned()),
    }
}

fn input(name: &str) -> Option<Input> {
    match name {
        "input_ids" => Some(Input::Ids),
        "attention_mask" => Some(Input::Mask),
        "position_ids" => Some(Input::Positions),
        _ => slot(name.strip_prefix("past_key_values.")?).map(Input::Past),
    }
}

fn output(name: &str) -> Option<Output> {
    match name {
        "logits" => Some(Output::Logits),
        "next_token" => Some(Output::NextToken),
        _ => slot(name.strip_prefix("present.")?).map(Output::Present),
    }
}

/// `3.key` → 6, `3.value` → 7.
fn slot(name: &str) -> Option<usize> {
    let (layer, part) = name.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    match part {
        "key" => Some(2 * layer),
        "value" => Some(2 * layer + 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_roles() {
        assert_eq!(input("past_key_values.3.value"), Some(Input::Past(7)));
        assert_eq!(output("present.0.key"), Some(Output::Present(0)));
        assert_eq!(output("logits"), Some(Output::Logits));
        for unknown in ["past_key_values.x.key", "past_key_values.1", "present.1.queries", "token_type_ids"] {
            assert_eq!(input(unknown), None, "{unknown}");
            assert_eq!(output(unknown), None, "{unknown}");
        }
    }
}
