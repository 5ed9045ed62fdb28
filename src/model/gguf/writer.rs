//! Writes the head and then every tensor straight from the mapped folder, one chunk in memory at a time.

use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::format::{self, Metadata};
use super::layout::{Content, NumberOrder, Weight};
use crate::hash::hex;
use crate::model::folder::{Folder, Tensor};
use crate::model::precision::convert;
use crate::model::{Error, Result};

/// How many numbers are reordered and converted at a time.
const CHUNK: usize = 1 << 18;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// Unit: bytes.
    pub(super) bytes: u64,
    /// Unit: 64 hex digits.
    pub(super) sha256: String,
}

/// Writes a whole file to `out`; `path` is only named in errors.
pub(super) fn write(
    folder: &Folder,
    metadata: &Metadata,
    weights: &[Weight],
    out: impl Write,
    path: &Path,
) -> Result<Written> {
    let mut file = Output { out, path, hash: Sha256::new(), bytes: 0 };
    file.put(&format::head(metadata, weights.iter().map(|weight| &weight.info)))?;
    for weight in weights {
        let end = file.bytes + weight.info.bytes();
        match &weight.content {
            Content::Computed(numbers) => numbers.iter().try_for_each(|x| file.put(&x.to_le_bytes()))?,
            Content::Stored(name, order) => {
                let mut converted = Vec::new();
                let tensor = folder.tensor(name)?;
                in_order(&tensor, *order, CHUNK, |bytes| {
                    converted.clear();
                    convert(name, tensor.dtype, bytes, weight.info.precision, &mut converted)?;
                    file.put(&converted)
                })?;
            }
        }
        // The places in the file were promised before; a wrong length would shift everything after it.
        if file.bytes != end {
            let message = format!("tensor `{}` ended at byte {}, expected {end}", weight.info.name, file.bytes);
            return Err(Error::io("write", path)(io::Error::other(message)));
        }
        file.put(&vec![0; format::padding(file.bytes)])?;
    }
    file.out.flush().map_err(Error::io("write", path))?;
    Ok(Written { bytes: file.bytes, sha256: hex(&file.hash.finalize()) })
}

/// A file being written: how far it is, the hash of that, and its name for errors.
struct Output<'a, W> {
    out: W,
    path: &'a Path,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Output<'_, W> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(Error::io("write", self.path))
    }
}

/// Hands out a tensor's bytes in the order of the file, in pieces of about `chunk` numbers.
fn in_order(
    tensor: &Tensor,
    order: NumberOrder,
    chunk: usize,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let size = tensor.dtype.bytes();
    let rows = tensor.shape.first().copied().unwrap_or(1).max(1);
    let row = (tensor.bytes.len() / rows).max(size);
    let mut piece = Vec::new();
    match order {
        NumberOrder::AsStored => tensor.bytes.chunks(chunk * size).try_for_each(take),
        NumberOrder::Transposed => {
            // A band of columns at a time, so that each stored row is read in runs and not number by number.
            let columns = row / size;
            let width = (chunk / rows).clamp(1, columns);
            for begin in (0..columns).step_by(width) {
                let band = begin * size..columns.min(begin + width) * size;
                piece.resize(band.len() * rows, 0);
                for (r, stored) in tensor.bytes.chunks_exact(row).enumerate() {
                    for (c, number) in stored[band.clone()].chunks_exact(size).enumerate() {
                        piece[(c * rows + r) * size..][..size].copy_from_slice(number);
                    }
                }
                take(&piece)?;
            }
            Ok(())
        }
        NumberOrder::Interleaved { head_dim } => {
            for (n, head) in tensor.bytes.chunks_exact(row * head_dim).enumerate() {
                let (first, second) = head.split_at(row * (head_dim / 2));
                for (a, b) in first.chunks_exact(row).zip(second.chunks_exact(row)) {
                    piece.extend_from_slice(a);
                    piece.extend_from_slice(b);
                }
                if piece.len() >= chunk * size || (n + 1) * row * head_dim >= tensor.bytes.len() {
                    take(&piece)?;
                    piece.clear();
                }
            }
            Ok(())
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::{Form, Precision, materialise};
    use crate::terms::model::{Dtype, Family, Synthetic};

    /// Numbers 0, 1, 2 … in this shape come out in this order, whatever the size of the pieces.
    fn check(shape: &[usize], order: NumberOrder, expected: &[f32]) {
        let count = u16::try_from(shape.iter().product::<usize>()).unwrap();
        let bytes: Vec<u8> = (0..count).flat_map(|n| f32::from(n).to_le_bytes()).collect();
        let tensor = Tensor { name: "t".to_owned(), dtype: Dtype::F32, shape: shape.to_vec(), bytes: bytes.clone() };
        for chunk in [1, 2, 3, 4, 5, 7, 1000] {
            let mut out = Vec::new();
            in_order(&tensor, order, chunk, |piece| {
                out.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
            let found: Vec<f32> = out.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            assert_eq!(found, expected, "{order:?} of {shape:?} in pieces of {chunk}");
        }
    }

    #[test]
    fn numbers_come_in_the_order_of_the_file() {
        check(&[2, 3], NumberOrder::AsStored, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        check(&[2, 3], NumberOrder::Transposed, &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        check(&[1, 3], NumberOrder::Transposed, &[0.0, 1.0, 2.0]);
        // Two heads of four: the halves of each alternate; for a bias, and for rows of two.
        let heads = NumberOrder::Interleaved { head_dim: 4 };
        check(&[8], heads, &[0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
        let rows =
            [[0.0, 1.0], [4.0, 5.0], [2.0, 3.0], [6.0, 7.0], [8.0, 9.0], [12.0, 13.0], [10.0, 11.0], [14.0, 15.0]];
        check(&[8, 2], heads, rows.as_flattened());
    }

    /// Takes so many bytes, then is full.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 && !bytes.is_empty() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_is_full_anywhere_is_an_error() {
        let cache = tempfile::tempdir().unwrap();
        let recipe = Synthetic { vocab: 300, n_positions: 8, ..Synthetic::new(Family::Llama, 1, 8, 2) };
        let folder = materialise(&Form::Synthetic(recipe), cache.path()).unwrap();
        let weights = super::super::layout::weights(&folder, Precision::F32).unwrap();
        let metadata = Metadata::new();
        let write = |disk| write(&folder, &metadata, &weights, Disk(disk), Path::new("model.gguf"));
        let whole = usize::try_from(write(usize::MAX).unwrap().bytes).unwrap();
        assert!(write(whole).is_ok());
        for room in (0..whole).step_by(997).chain([whole - 1]) {
            let error = write(room).unwrap_err().to_string();
            assert!(error.starts_with("cannot write model.gguf: "), "{room}: {error}");
        }
    }
}
