//! A model in the server, and what is remembered of it across its loads.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::judge::History;
use super::manage::Resident;
use super::speech::Speech;
use super::version::Runner;

/// A model as the server has it, and how its prompts become text.
#[derive(Clone)]
pub struct Served {
    /// Its name in the server.
    pub tag: String,
    /// What runs it.
    pub runner: Runner,
    /// `num_ctx`.
    pub context: u32,
    /// How its prompts become text.
    pub speech: Rc<RefCell<Speech>>,
    /// Nonces given out so far.
    pub nonces: Rc<Cell<u64>>,
    /// What its calls are judged against.
    pub history: Rc<RefCell<History>>,
    /// Memory that its first load took, as the server says, where all of it was in one place; another load with the same
    /// options takes as much. `None`: not loaded yet, or not told.
    pub size: Rc<Cell<Option<u64>>>,
}

impl Served {
    /// Why what is resident is another load than the first one was. A load with the same options takes as much memory,
    /// unless the server was set otherwise in between, as by another type of the key-value cache; where it is divided
    /// between two places it may be divided otherwise. `None`: it takes as much, or it is not known.
    pub(super) fn other_size(&self, own: &Resident) -> Option<String> {
        let whole = own.size_vram == Some(0) || own.size_vram == own.size;
        let size = own.size.filter(|_| whole)?;
        let Some(before) = self.size.get() else {
            self.size.set(Some(size));
            return None;
        };
        (before != size).then(|| {
            format!(
                "the model takes {size} bytes and took {before} with the same options: the server's settings changed"
            )
        })
    }
}
