//! The KV cache in theory: how large it is, and what fits into memory with it.
//!
//! What an engine really allocates stands in the record; where the two differ, the difference is the engine's: blocks, padding,
//! pools.

use crate::terms::model::Architecture;

/// Bytes of a MiB.
pub const MIB: f64 = 1_048_576.0;

/// What of a model decides the size of its cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// Transformer blocks.
    pub n_layer: u64,
    /// Key-value heads.
    pub n_kv_head: u64,
    /// Width of one head.
    pub head_dim: u64,
    /// Size of one element. Unit: bytes.
    pub element_bytes: u64,
    /// Longest context. Unit: tokens. `None`: without end.
    pub n_positions: Option<u64>,
}

impl Cache {
    /// Of a model, its elements so many bytes wide.
    #[must_use]
    pub fn of(model: &Architecture, element_bytes: u64) -> Self {
        Self {
            n_layer: model.n_layer as u64,
            n_kv_head: model.n_kv_head as u64,
            head_dim: model.head_dim as u64,
            element_bytes,
            n_positions: Some(model.n_positions as u64),
        }
    }

    /// What one token of one sequence adds. Unit: bytes.
    ///
    /// Source: TR123, `2 × n_layers × n_kv_heads × head_dim × bytes_per_element`.
    #[must_use]
    pub fn bytes_per_token(self) -> u64 {
        2 * self.n_layer * self.n_kv_head * self.head_dim * self.element_bytes
    }

    /// The whole cache; tokens beyond the longest context are not held. Unit: bytes.
    #[must_use]
    pub fn bytes(self, batch: u64, tokens: u64) -> u64 {
        let held = self.n_positions.map_or(tokens, |longest| tokens.min(longest));
        self.bytes_per_token().saturating_mul(batch).saturating_mul(held)
    }

    /// Whole tokens of one sequence whose cache is as large as the weights, whatever the longest context is. `None`: there
    /// is no cache.
    ///
    /// Source: TR123, `floor(weight bytes ÷ bytes per token)`.
    #[must_use]
    pub fn crossover_tokens(self, weight_bytes: u64) -> Option<u64> {
        weight_bytes.checked_div(self.bytes_per_token())
    }

    /// Tokens that each of `batch` sequences may have beside the weights. `None`: the weights alone do not fit.
    #[must_use]
    pub fn longest_context(self, memory: u64, weight_bytes: u64, batch: u64) -> Option<u64> {
        let free = memory.checked_sub(weight_bytes)?;
        let tokens = free.checked_div(self.bytes_per_token().saturating_mul(batch))?;
        Some(self.n_positions.map_or(tokens, |longest| tokens.min(longest)))
    }

    /// Sequences of so many tokens that fit beside the weights. `None`: the weights alone do not fit, or no tokens are asked
    /// for.
    #[must_use]
    pub fn largest_batch(self, memory: u64, weight_bytes: u64, tokens: u64) -> Option<u64> {
        memory.checked_sub(weight_bytes)?.checked_div(self.bytes(1, tokens))
    }
}

/// The same model with as many key-value heads as query heads, and as many parameters: the MLP is narrower by what the added
/// projections take. `None`: its heads are not grouped, or no MLP is narrow enough.
#[must_use]
pub fn multi_head_of_equal_size(grouped: &Architecture) -> Option<Architecture> {
    if grouped.n_kv_head >= grouped.n_head {
        return None;
    }
    let wanted = grouped.parameters();
    let with = |n_inner: usize| Architecture { n_kv_head: grouped.n_head, n_inner, ..grouped.clone() };
    // Parameters grow with the width of the MLP, by the same number for each step of it.
    let per_step = with(2).parameters() - with(1).parameters();
    let least = with(1).parameters();
    let steps = wanted.checked_sub(least)?.checked_add(per_step / 2)? / per_step;
    Some(with(1 + usize::try_from(steps).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHE: Cache = Cache { n_layer: 12, n_kv_head: 12, head_dim: 64, element_bytes: 2, n_positions: Some(1024) };

    #[test]
    fn what_fits_is_counted_down_to_the_byte() {
        let (token, weights) = (CACHE.bytes_per_token(), 1000);
        assert_eq!(CACHE.longest_context(weights + 10 * token, weights, 1), Some(10));
        assert_eq!(CACHE.longest_context(weights + 10 * token - 1, weights, 1), Some(9));
        assert_eq!(CACHE.longest_context(weights + 10 * token, weights, 3), Some(3));
        assert_eq!(CACHE.longest_context(weights + 9000 * token, weights, 1), Some(1024), "the model's longest");
        assert_eq!(CACHE.longest_context(999, weights, 1), None);
        assert_eq!(CACHE.largest_batch(weights + 10 * token, weights, 5), Some(2));
        assert_eq!(CACHE.largest_batch(weights + 10 * token, weights, 11), Some(0));
        assert_eq!(CACHE.largest_batch(999, weights, 5), None);
        assert_eq!(CACHE.bytes(1, u64::MAX), 1024 * token, "no overflow");
    }
}
