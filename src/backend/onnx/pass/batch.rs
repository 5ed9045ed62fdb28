//! Token ids, positions and attention mask of a batch, in buffers that are allocated once per call.

/// The rows of one call, padded on the left to one length, and how they grow.
#[derive(Debug)]
pub struct Batch {
    rows: usize,
    /// Columns that the next forward pass takes.
    width: usize,
    /// Columns that exist by then, those in the KV cache included.
    total: usize,
    /// Padding of each row.
    pads: Vec<usize>,
    ids: Vec<i64>,
    positions: Vec<i64>,
    /// Ones except at the padding, for rows of length `total`. A longer total only moves the padding.
    mask: Vec<i64>,
}

/// What one forward pass takes. Row-major.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Rows.
    pub rows: usize,
    /// Columns of `ids` and `positions`.
    pub width: usize,
    /// Columns of `mask`.
    pub total: usize,
    /// Token ids; padding is 0.
    pub ids: &'a [i64],
    /// Positions in the row, counted from its first token; 0 at padding.
    pub positions: &'a [i64],
    /// 1 at tokens, 0 at padding.
    pub mask: &'a [i64],
}

impl Batch {
    /// The prompts, padded to `length`, which no row exceeds, with room for `room` more columns.
    #[must_use]
    pub fn new(prompts: &[Vec<u32>], length: usize, room: usize) -> Self {
        let capacity = prompts.len() * (length + room);
        let (mut ids, mut positions) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        let mut pads = Vec::with_capacity(prompts.len());
        for row in prompts {
            let pad = length.saturating_sub(row.len());
            ids.extend(std::iter::repeat_n(0, pad));
            ids.extend(row.iter().map(|&id| i64::from(id)));
            positions.extend(std::iter::repeat_n(0, pad));
            positions.extend((0_i64..).take(row.len()));
            pads.push(pad);
        }
        let mut batch =
            Self { rows: prompts.len(), width: length, total: length, pads, ids, positions, mask: vec![1; capacity] };
        batch.mask_padding(0);
        batch
    }

    /// What the next forward pass takes.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View {
            rows: self.rows,
            width: self.width,
            total: self.total,
            ids: &self.ids[..self.rows * self.width],
            positions: &self.positions[..self.rows * self.width],
            mask: &self.mask[..self.rows * self.total],
        }
    }

    /// Takes one token per row as the next column; all before it is in the KV cache.
    pub fn step(&mut self, tokens: &[i64]) {
        self.grow_mask();
        self.width = 1;
        self.ids[..self.rows].copy_from_slice(tokens);
        for (position, pad) in self.positions.iter_mut().zip(&self.pads) {
            *position = index(self.total - 1 - pad);
        }
    }

    /// Appends one token per row; everything is evaluated again. Never follows a [`step`](Self::step).
    pub fn append(&mut self, tokens: &[i64]) {
        self.grow_mask();
        let (old, new) = (self.width, self.width + 1);
        self.ids.resize(self.rows * new, 0);
        self.positions.resize(self.rows * new, 0);
        // From the last row, so that no row is overwritten before it has moved.
        for row in (0..self.rows).rev() {
            for values in [&mut self.ids, &mut self.positions] {
                values.copy_within(row * old..(row + 1) * old, row * new);
            }
            self.ids[row * new + old] = tokens[row];
            self.positions[row * new + old] = index(old - self.pads[row]);
        }
        self.width = new;
    }

    fn grow_mask(&mut self) {
        self.mask_padding(1);
        self.total += 1;
        self.mask_padding(0);
    }

    fn mask_padding(&mut self, value: i64) {
        for (row, &pad) in self.pads.iter().enumerate() {
            self.mask[row * self.total..][..pad].fill(value);
        }
    }
}

/// A column as the graph's integer.
fn index(column: usize) -> i64 {
    i64::try_from(column).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[i64], width: usize) -> Vec<&[i64]> {
        values.chunks(width).collect()
    }

    #[test]
    fn shorter_rows_are_padded_on_the_left() {
        let batch = Batch::new(&[vec![5, 6, 7], vec![8]], 4, 2);
        let view = batch.view();
        assert_eq!(rows(view.ids, 4), [[0, 5, 6, 7], [0, 0, 0, 8]]);
        assert_eq!(rows(view.positions, 4), [[0, 0, 1, 2], [0, 0, 0, 0]]);
        assert_eq!(rows(view.mask, 4), [[0, 1, 1, 1], [0, 0, 0, 1]]);
    }

    #[test]
    fn a_step_is_one_column_and_the_mask_covers_the_cache() {
        let mut batch = Batch::new(&[vec![5, 6, 7], vec![8]], 4, 2);
        batch.step(&[9, 10]);
        batch.step(&[11, 12]);
        let view = batch.view();
        assert_eq!((view.width, view.total), (1, 6));
        assert_eq!(view.ids, [11, 12]);
        assert_eq!(view.positions, [4, 2]);
        assert_eq!(rows(view.mask, 6), [[0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1]]);
    }

    #[test]
    fn appending_keeps_the_rows_apart() {
        let mut batch = Batch::new(&[vec![5, 6, 7], vec![8], vec![1, 2]], 3, 2);
        batch.append(&[9, 10, 11]);
        batch.append(&[12, 13, 14]);
        let view = batch.view();
        assert_eq!((view.width, view.total), (5, 5));
        assert_eq!(rows(view.ids, 5), [[5, 6, 7, 9, 12], [0, 0, 8, 10, 13], [0, 1, 2, 11, 14]]);
        assert_eq!(rows(view.positions, 5), [[0, 1, 2, 3, 4], [0, 0, 0, 1, 2], [0, 0, 1, 2, 3]]);
        assert_eq!(rows(view.mask, 5), [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 1, 1, 1, 1]]);
    }

    #[test]
    fn growing_within_the_room_allocates_nothing() {
        let mut batch = Batch::new(&[vec![1], vec![2]], 1, 3);
        let before = (batch.ids.as_ptr(), batch.positions.as_ptr(), batch.mask.as_ptr());
        for _ in 0..3 {
            batch.append(&[3, 4]);
        }
        assert_eq!(before, (batch.ids.as_ptr(), batch.positions.as_ptr(), batch.mask.as_ptr()));
    }
}
