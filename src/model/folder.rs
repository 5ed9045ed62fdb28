//! An opened model folder: its shape, and its weights where they lie.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use half::{bf16, f16};
use serde_json::Value;
use tokenizers::Tokenizer;

use super::shard::{self, Location, Shard};
use super::tensors::{self, TensorSpec};
use super::{Error, Result, bounded, config, content, tokenizer};
use crate::terms::model::{Architecture, Dtype, Family};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A model folder whose tensors are all present, in the shape that `config.json` implies.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    cache_root: PathBuf,
    architecture: Architecture,
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Location>,
    parameters: u64,
    unused: Vec<String>,
    weights_id: OnceLock<String>,
}

/// A tensor's bytes as they are stored: little endian, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its Hugging Face name, without an optional prefix.
    pub name: String,
    /// How its numbers are stored.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// `elements × dtype.bytes()` bytes.
    pub bytes: Vec<u8>,
}

impl Folder {
    /// Opens a folder with `config.json` and `model.safetensors`, or shards under a `model.safetensors.index.json`.
    ///
    /// `cache_root` keeps the hash of the weights between runs.
    ///
    /// # Errors
    /// A file is missing or malformed, the configuration asks for something unsupported, a tensor is missing or
    /// misshapen, a block holds one that the configuration does not announce, or the output embedding should be tied and
    /// differs.
    pub fn open(path: &Path, cache_root: &Path) -> Result<Self> {
        let mut architecture = config::read(&path.join("config.json"))?;
        let shards = weight_files(path)?.into_iter().map(Shard::open).collect::<Result<Vec<_>>>()?;
        let mut stored = BTreeMap::new();
        for (n, shard) in shards.iter().enumerate() {
            shard.list(n, &mut stored)?;
        }
        let mut folder = Self {
            path: path.to_owned(),
            cache_root: cache_root.to_owned(),
            architecture: architecture.clone(),
            shards,
            tensors: BTreeMap::new(),
            parameters: 0,
            unused: Vec::new(),
            weights_id: OnceLock::new(),
        };
        for spec in tensors::expected(&architecture) {
            let location = folder.find(&stored, &spec)?;
            folder.parameters += location.shape.iter().map(|&n| n as u64).product::<u64>();
            folder.tensors.insert(spec.name, location);
        }
        if architecture.tied_embeddings {
            folder.check_tied_head(&stored)?;
        }
        folder.unused = folder.left_out(&stored)?;
        architecture.dtype = folder.main_dtype();
        folder.architecture = architecture;
        Ok(folder)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its shape; `dtype` is the one that most of the weights are stored in.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Parameters counted from the stored tensors, a tied output embedding once.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    /// Size of the tensors that the architecture consists of. Unit: bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.tensors.values().map(|t| t.length).sum()
    }

    /// Names of tensors in the files that the architecture has no place for, in alphabetical order: blocks beyond the last
    /// one, heads for other tasks. What merely buffers constants is not listed.
    #[must_use]
    pub fn unused(&self) -> &[String] {
        &self.unused
    }

    /// Share of the weights that are subnormal numbers of their type, 0 to 1: they slow some processors several times.
    /// Reads all of them.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn subnormal_share(&self) -> Result<f64> {
        let mut subnormal = 0;
        for name in self.tensors.keys() {
            let tensor = self.tensor(name)?;
            subnormal += match tensor.dtype {
                Dtype::F32 => count(&tensor.bytes, |b| f32::from_le_bytes(b).is_subnormal()),
                Dtype::F16 => count(&tensor.bytes, |b| is_subnormal(f16::from_le_bytes(b).classify())),
                Dtype::Bf16 => count(&tensor.bytes, |b| is_subnormal(bf16::from_le_bytes(b).classify())),
            };
        }
        Ok(subnormal as f64 / self.parameters.max(1) as f64)
    }

    /// The tokenizer beside the weights.
    ///
    /// # Errors
    /// `tokenizer.json` is missing or malformed.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        tokenizer::read(&self.path.join("tokenizer.json"))
    }

    /// A tensor by its Hugging Face name, see [`tensors::expected`].
    ///
    /// # Errors
    /// The architecture has no such tensor, it is stored in a type that is not read, or the file became shorter.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let missing = || Error::MissingTensor { path: self.path.clone(), name: name.to_owned(), expected: Vec::new() };
        let location = self.tensors.get(name).ok_or_else(missing)?;
        let shard = self.shards.get(location.shard).ok_or_else(missing)?;
        Ok(Tensor {
            name: name.to_owned(),
            dtype: dtype(location.dtype).ok_or_else(|| shard.wrong_dtype(name, location))?,
            shape: location.shape.clone(),
            bytes: shard.tensor(location)?,
        })
    }

    /// What identifies the weights: SHA-256 over the content of the weights files in order of their names. Unit: 64
    /// hex digits.
    ///
    /// Remembered in the cache as long as nothing can have changed unseen, so that a large file is read once.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn weights_id(&self) -> Result<String> {
        if let Some(id) = self.weights_id.get() {
            return Ok(id.clone());
        }
        let files: Vec<PathBuf> = self.shards.iter().map(|shard| shard.path.clone()).collect();
        let id = content::sha256(&files, &self.cache_root)?;
        Ok(self.weights_id.get_or_init(|| id).clone())
    }

    /// Finds a tensor under its name or with an optional prefix, and checks it.
    fn find(&self, stored: &BTreeMap<String, Location>, spec: &TensorSpec) -> Result<Location> {
        let Some(location) = self.names(&spec.name).iter().find_map(|name| stored.get(name)) else {
            if spec.name == tensors::HEAD_NAME {
                return Err(Error::UntiedHeadMissing { path: self.path.clone(), head: spec.name.clone() });
            }
            return Err(Error::MissingTensor {
                path: self.path.clone(),
                name: spec.name.clone(),
                expected: spec.shape.clone(),
            });
        };
        let shard = &self.shards[location.shard];
        if location.shape != spec.shape {
            return Err(Error::TensorShape {
                path: shard.path.clone(),
                name: spec.name.clone(),
                expected: spec.shape.clone(),
                found: location.shape.clone(),
            });
        }
        if dtype(location.dtype).is_none() {
            return Err(shard.wrong_dtype(&spec.name, location));
        }
        Ok(location.clone())
    }

    /// The names a tensor may go by: files saved from the bare network leave a prefix out or put one in front.
    fn names(&self, name: &str) -> [String; 2] {
        let other = match self.architecture.family {
            Family::Gpt2 => format!("transformer.{name}"),
            Family::Llama | Family::Qwen2 | Family::Phi => name.strip_prefix("model.").unwrap_or(name).to_owned(),
        };
        [name.to_owned(), other]
    }

    fn check_tied_head(&self, stored: &BTreeMap<String, Location>) -> Result<()> {
        let Some(head) = stored.get(tensors::HEAD_NAME) else {
            return Ok(());
        };
        let name = tensors::embedding_name(self.architecture.family);
        let embedding = self.tensor(name)?;
        if self.shards[head.shard].tensor(head)? == embedding.bytes {
            return Ok(());
        }
        Err(Error::TiedHeadDiffers {
            path: self.path.clone(),
            head: tensors::HEAD_NAME.to_owned(),
            embedding: name.to_owned(),
        })
    }

    /// Names of tensors that are in the files and not in the architecture.
    fn left_out(&self, stored: &BTreeMap<String, Location>) -> Result<Vec<String>> {
        let used: BTreeSet<String> = self.tensors.keys().flat_map(|name| self.names(name)).collect();
        let mut unused = Vec::new();
        for name in stored.keys() {
            if used.contains(name) || name == tensors::HEAD_NAME || tensors::is_buffer(name) {
                continue;
            }
            let block = tensors::block(self.architecture.family, name);
            if block.is_some_and(|block| block < self.architecture.n_layer) {
                return Err(Error::UnannouncedTensor { path: self.path.clone(), name: name.clone() });
            }
            unused.push(name.clone());
        }
        Ok(unused)
    }

    fn main_dtype(&self) -> Dtype {
        let mut bytes = BTreeMap::new();
        for location in self.tensors.values() {
            if let Some(dtype) = dtype(location.dtype) {
                *bytes.entry(dtype).or_insert(0) += location.length;
            }
        }
        bytes.into_iter().max_by_key(|&(_, n)| n).map_or(Dtype::F32, |(dtype, _)| dtype)
    }
}

/// How many numbers of `N` bytes each are as `is` says.
fn count<const N: usize>(bytes: &[u8], is: impl Fn([u8; N]) -> bool) -> u64 {
    let numbers = bytes.as_chunks::<N>().0;
    numbers.iter().filter(|&&number| is(number)).count() as u64
}

fn is_subnormal(kind: std::num::FpCategory) -> bool {
    kind == std::num::FpCategory::Subnormal
}

fn dtype(dtype: safetensors::Dtype) -> Option<Dtype> {
    match dtype {
        safetensors::Dtype::F32 => Some(Dtype::F32),
        safetensors::Dtype::F16 => Some(Dtype::F16),
        safetensors::Dtype::BF16 => Some(Dtype::Bf16),
        _ => None,
    }
}

/// The weights files of a folder in order of their names.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let single = folder.join(SINGLE);
    let index = folder.join(INDEX);
    if single.is_file() {
        shard::refuse_pointer(&single)?;
        return Ok(vec![single]);
    }
    if !index.is_file() {
        let hub = if folder.join("snapshots").is_dir() {
            ": it is a hub's cache, name the folder below its `snapshots`"
        } else {
            ""
        };
        let message = format!("holds no weights, expected {SINGLE} or {INDEX}{hub}");
        return Err(Error::malformed(folder, message));
    }
    let text = bounded::bytes(&index, bounded::SETTINGS)?;
    let value: Value = serde_json::from_slice(&text).map_err(|e| Error::malformed(&index, format!("not JSON: {e}")))?;
    let map = value.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| Error::malformed(&index, "has no `weight_map` object"))?;
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        // A name with a separator would reach outside the folder.
        let plain = file.as_str().filter(|f| Path::new(f).file_name().is_some_and(|name| name == *f));
        let Some(name) = plain else {
            let message = format!("tensor `{tensor}` lies in {file}, expected a file name without a folder");
            return Err(Error::malformed(&index, message));
        };
        names.insert(name);
    }
    let files: Vec<PathBuf> = names.into_iter().map(|name| folder.join(name)).collect();
    files.iter().try_for_each(|file| shard::refuse_pointer(file))?;
    Ok(files)
}
