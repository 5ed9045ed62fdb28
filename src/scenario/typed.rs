//! Single values of a tree that was checked, by the type that is wanted.
//!
//! `None` everywhere means: not there, or wrong in a way that [`super::check`] has reported.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::node::Node;
use super::quantity;
use crate::units::Bytes;

/// The text under a key, borrowed.
pub fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.get(key).and_then(Node::text)
}

/// The text under a key.
pub fn owned(node: &Node, key: &str) -> Option<String> {
    text(node, key).map(str::to_owned)
}

/// A value of an enum by its serialized name.
pub fn word<T: DeserializeOwned>(node: &Node) -> Option<T> {
    serde_json::from_value(node.text()?.into()).ok()
}

/// A list of such values.
pub fn words<T: DeserializeOwned>(node: &Node) -> Option<Vec<T>> {
    node.items().iter().map(word).collect()
}

/// A list of whole numbers.
pub fn wholes<T: TryFrom<i128>>(node: &Node) -> Option<Vec<T>> {
    node.items().iter().map(Node::whole).collect()
}

/// The number under a key.
pub fn number(node: &Node, key: &str) -> Option<f64> {
    node.get(key)?.number()
}

/// The duration under a key.
pub fn duration(node: &Node, key: &str) -> Option<Duration> {
    quantity::duration(node.get(key)?.text()?).ok()
}

/// A size.
pub fn bytes(node: &Node) -> Option<Bytes> {
    quantity::bytes(node.text()?).ok()
}

/// The items of the list under a key; none where it is no list.
pub fn items<'a>(node: &'a Node, key: &str) -> &'a [Node] {
    node.get(key).map_or(&[], Node::items)
}

/// The items of the list under a key, each built.
pub fn each<T>(node: &Node, key: &str, build: impl Fn(&Node) -> Option<T>) -> Option<Vec<T>> {
    node.get(key)?.items().iter().map(build).collect()
}

/// `Some(None)` where an optional key is absent.
pub fn optional<T>(node: &Node, key: &str, build: impl Fn(&Node) -> Option<T>) -> Option<Option<T>> {
    match node.get(key) {
        None => Some(None),
        Some(value) => build(value).map(Some),
    }
}

/// `Some(None)` where an optional text is absent.
pub fn optional_text(node: &Node, key: &str) -> Option<Option<String>> {
    optional(node, key, |value| value.text().map(str::to_owned))
}
