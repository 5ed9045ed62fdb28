//! What can go wrong between a recipe or a folder and an engine's file.

use std::io;
use std::path::{Path, PathBuf};

/// What every function here returns.
pub type Result<T> = std::result::Result<T, Error>;

/// An error about a model, its files or what is derived from them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server has the model and nobody else.
    #[error("`{0}` is a server's own model: it has no folder here")]
    NoFolder(String),
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("{}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong and what is expected.
        message: String,
    },
    /// A key of `config.json` is absent.
    #[error("{}: key `{key}` is missing, expected {expected}", path.display())]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The absent key.
        key: String,
        /// What it should hold.
        expected: String,
    },
    /// A key of `config.json` asks for something no exporter here can do, or makes no sense.
    #[error("{}: `{key}` is {value}, supported: {supported}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value, as JSON.
        value: String,
        /// What is supported.
        supported: String,
    },
    /// A field of a synthetic recipe is out of range.
    #[error("synthetic model: `{field}` is {value}, allowed: {allowed}")]
    Recipe {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The weights lack a tensor that the architecture needs.
    #[error("{}: tensor `{name}` with shape {expected:?} is missing", path.display())]
    MissingTensor {
        /// The model folder.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor has another shape than the architecture says.
    #[error("{}: tensor `{name}` has shape {found:?}, expected {expected:?}", path.display())]
    TensorShape {
        /// The weights file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The shape the architecture gives it.
        expected: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// A tensor is stored in a type that is not read.
    #[error("{}: tensor `{name}` is stored as {found}, supported: F32, F16, BF16", path.display())]
    TensorDtype {
        /// The weights file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type, as the file names it.
        found: String,
    },
    /// The configuration ties the output embedding to the input embedding, but the file holds two different ones.
    #[error(
        "{}: `tie_word_embeddings` is true, but `{head}` differs from `{embedding}`\n  \
         transformers 5 warns and uses both as stored, vLLM uses `{embedding}` for both\n  \
         try: write into config.json what the model was trained with", path.display()
    )]
    TiedHeadDiffers {
        /// The model folder.
        path: PathBuf,
        /// The output embedding.
        head: String,
        /// The input embedding.
        embedding: String,
    },
    /// The configuration has an output embedding of its own, and the file has none.
    #[error(
        "{}: `tie_word_embeddings` is false, but there is no `{head}`\n  \
         transformers 5 warns and makes up random numbers, vLLM refuses the model\n  \
         try: `\"tie_word_embeddings\": true` in config.json, if the model was trained so", path.display()
    )]
    UntiedHeadMissing {
        /// The model folder.
        path: PathBuf,
        /// The output embedding.
        head: String,
    },
    /// A block that is used holds a tensor that nothing would use.
    #[error(
        "{}: tensor `{name}` lies in a block that is used, and config.json does not announce it: without it the model \
         computes something else", path.display()
    )]
    UnannouncedTensor {
        /// The model folder.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A text gives a token that the model has no row for.
    #[error("token {id} (`{token}`) is beyond the vocabulary of {vocab}, so the model has no row for it")]
    BeyondVocabulary {
        /// Its id.
        id: u32,
        /// Its text.
        token: String,
        /// `vocab_size`.
        vocab: usize,
    },
    /// A weight is too large for the type asked for.
    #[error("tensor `{name}` holds {value}, more than f16 can hold: export it as f32")]
    Overflow {
        /// The tensor.
        name: String,
        /// The value.
        value: f32,
    },
    /// A prompt of this length cannot be made.
    #[error("a prompt of {wanted} tokens was asked for, {found}")]
    PromptLength {
        /// Tokens asked for.
        wanted: usize,
        /// What there is instead, with its source.
        found: String,
    },
    /// The tokenizer refused.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
}

impl Error {
    /// Whether the file system refused to write, rather than to read, or this program to write over something.
    #[must_use]
    pub fn is_unwritable(&self) -> bool {
        let reads = ["find", "list", "map", "open", "read"];
        let taken = [io::ErrorKind::DirectoryNotEmpty, io::ErrorKind::AlreadyExists];
        matches!(self, Self::Io { action, source, .. } if !reads.contains(action) && !taken.contains(&source.kind()))
    }

    /// For `map_err`: attaches what was tried and where.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// A file that is not what its name says.
    pub(super) fn malformed(path: &Path, message: impl ToString) -> Self {
        Self::Malformed { path: path.to_owned(), message: message.to_string() }
    }
}
