//! What an engine's settings are to the rest of the scenario layer.

use super::limits::Limits;
use super::node::Node;
use super::problem::Problem;
use super::section::Section;

/// The settings of one engine, as a section below a backend asks for them.
pub trait EngineSettings: Limits + Sized {
    /// The key that chooses the engine.
    const KEY: &'static str;
    /// What the engine is, for the schema.
    const DOC: &'static str;
    /// Its keys.
    const SECTION: &'static Section;

    /// The settings from a section that was checked. `None`: it is wrong in a way that was reported.
    fn build(section: &Node) -> Option<Self>;

    /// Reports what its keys say about each other, and about the rest of the file, that cannot be.
    ///
    /// It works on the tree, so that one broken value does not hide what else is wrong.
    fn contradictions(_placed: Placed<'_>, _problems: &mut Vec<Problem>) {}

    /// What [`Limits::virtual_clock`] is going to be, read from a section that may be broken elsewhere. `None`: cannot be
    /// told.
    fn asks_for_virtual_clock(_section: &Node) -> Option<bool> {
        Some(false)
    }
}

/// An engine's section where it stands.
#[derive(Clone, Copy)]
pub struct Placed<'a> {
    /// The whole file.
    pub file: &'a Node,
    /// The backend that asks for the engine.
    pub backend: &'a Node,
    /// What stands under the engine's key.
    pub section: &'a Node,
}
