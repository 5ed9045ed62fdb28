//! An opened model folder: its shape, and its weights mapped into memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use memmap2::Mmap;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokenizers::Tokenizer;

use super::architecture::{Architecture, Dtype, Family};
use super::tensors::{self, TensorSpec};
use super::{Error, Result, config, tokenizer};
use crate::hash::hex;

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
    weights_id: OnceLock<String>,
}

/// One mapped `.safetensors` file.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    map: Mmap,
}

/// Where a tensor lies.
#[derive(Debug, Clone)]
struct Location {
    shard: usize,
    dtype: safetensors::Dtype,
    shape: Vec<usize>,
    begin: usize,
    end: usize,
}

/// A tensor's bytes as they are stored: little endian, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor<'a> {
    /// Its Hugging Face name, without an optional prefix.
    pub name: String,
    /// How its numbers are stored.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// `elements × dtype.bytes()` bytes.
    pub bytes: &'a [u8],
}

impl Folder {
    /// Opens a folder with `config.json` and `model.safetensors`, or shards under a `model.safetensors.index.json`.
    ///
    /// `cache_root` keeps the hash of the weights between runs. Tensors that the architecture does not need are ignored.
    ///
    /// # Errors
    /// A file is missing or malformed, the configuration asks for something unsupported, a tensor is missing or
    /// misshapen, or the output embedding should be tied and differs.
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
        self.tensors.values().map(|t| (t.end - t.begin) as u64).sum()
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
    /// The architecture has no such tensor, or it is stored in a type that is not read.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>> {
        let missing = || Error::MissingTensor { path: self.path.clone(), name: name.to_owned(), expected: Vec::new() };
        let location = self.tensors.get(name).ok_or_else(missing)?;
        let shard = self.shards.get(location.shard).ok_or_else(missing)?;
        Ok(Tensor {
            name: name.to_owned(),
            dtype: dtype(location.dtype).ok_or_else(|| shard.wrong_dtype(name, location))?,
            shape: location.shape.clone(),
            bytes: shard.map.get(location.begin..location.end).ok_or_else(missing)?,
        })
    }

    /// What identifies the weights: SHA-256 over the content of the weights files in order of their names. Unit: 64
    /// hex digits.
    ///
    /// Remembered in the cache under path, size and time of change, so that a large file is read once.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn weights_id(&self) -> Result<String> {
        if let Some(id) = self.weights_id.get() {
            return Ok(id.clone());
        }
        let id = self.remembered_weights_id()?;
        Ok(self.weights_id.get_or_init(|| id).clone())
    }

    fn remembered_weights_id(&self) -> Result<String> {
        let path = fs::canonicalize(&self.path).map_err(Error::io("find", &self.path))?;
        let stamps = self.shards.iter().map(Shard::stamp).collect::<Result<Vec<_>>>()?;
        let folder = self.cache_root.join("weights");
        let file = folder.join(format!("{}.json", hex(&Sha256::digest(path.as_os_str().as_encoded_bytes()))));
        // Whatever is wrong with a remembered hash, hashing again cures it.
        let known = fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Remembered>(&text).ok());
        if let Some(known) = known.filter(|known| known.files == stamps) {
            return Ok(known.weights_id);
        }
        let mut hash = Sha256::new();
        for shard in &self.shards {
            hash.update(&shard.map);
        }
        let known = Remembered { path: path.display().to_string(), files: stamps, weights_id: hex(&hash.finalize()) };
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let text = serde_json::to_vec(&known).map_err(|e| Error::malformed(&file, e))?;
        let write = || -> std::io::Result<()> {
            let mut unfinished = tempfile::NamedTempFile::new_in(&folder)?;
            unfinished.write_all(&text)?;
            unfinished.persist(&file).map_err(|e| e.error)?;
            Ok(())
        };
        write().map_err(Error::io("write", &file))?;
        Ok(known.weights_id)
    }

    /// Finds a tensor under its name or with an optional prefix, and checks it.
    fn find(&self, stored: &BTreeMap<String, Location>, spec: &TensorSpec) -> Result<Location> {
        let Some(location) = self.names(&spec.name).iter().find_map(|name| stored.get(name)) else {
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
        if self.shards[head.shard].map.get(head.begin..head.end) == Some(embedding.bytes) {
            return Ok(());
        }
        Err(Error::TiedHeadDiffers {
            path: self.path.clone(),
            head: tensors::HEAD_NAME.to_owned(),
            embedding: name.to_owned(),
        })
    }

    fn main_dtype(&self) -> Dtype {
        let mut bytes = BTreeMap::new();
        for location in self.tensors.values() {
            if let Some(dtype) = dtype(location.dtype) {
                *bytes.entry(dtype).or_insert(0) += location.end - location.begin;
            }
        }
        bytes.into_iter().max_by_key(|&(_, n)| n).map_or(Dtype::F32, |(dtype, _)| dtype)
    }
}

/// A hash of weights as the cache keeps it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    /// For people who look into the cache.
    path: String,
    files: Vec<Stamp>,
    weights_id: String,
}

/// What changes when a file does.
#[derive(Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Stamp {
    name: String,
    size_bytes: u64,
    modified_ns: u64,
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        // SAFETY: the mapping is only read, as plain bytes. Truncating the file while a model is read would end the
        // program; model files are not written in place by anything that makes them.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("map", &path))?;
        Ok(Self { path, map })
    }

    /// Adds the file's tensors to `stored`; the crate has checked that they lie inside the file.
    fn list(&self, shard: usize, stored: &mut BTreeMap<String, Location>) -> Result<()> {
        let (header, metadata) = SafeTensors::read_metadata(&self.map).map_err(|e| Error::malformed(&self.path, e))?;
        let data = 8 + header;
        for (name, info) in metadata.tensors() {
            let (begin, end) = info.data_offsets;
            let location =
                Location { shard, dtype: info.dtype, shape: info.shape.clone(), begin: data + begin, end: data + end };
            if stored.insert(name.clone(), location).is_some() {
                return Err(Error::malformed(&self.path, format!("tensor `{name}` is also in another file")));
            }
        }
        Ok(())
    }

    fn stamp(&self) -> Result<Stamp> {
        let meta = fs::metadata(&self.path).map_err(Error::io("read", &self.path))?;
        let modified = meta.modified().map_err(Error::io("read", &self.path))?;
        let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Stamp {
            name: self.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            size_bytes: meta.len(),
            modified_ns: u64::try_from(modified.as_nanos()).unwrap_or(u64::MAX),
        })
    }

    fn wrong_dtype(&self, name: &str, location: &Location) -> Error {
        Error::TensorDtype { path: self.path.clone(), name: name.to_owned(), found: location.dtype.to_string() }
    }
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
        return Ok(vec![single]);
    }
    if !index.is_file() {
        let message = format!("holds no weights, expected {SINGLE} or {INDEX}");
        return Err(Error::malformed(folder, message));
    }
    let text = fs::read(&index).map_err(Error::io("read", &index))?;
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
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}
