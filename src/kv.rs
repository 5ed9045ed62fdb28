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

/// The longest context that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Longest {
    /// Of so many tokens.
    Tokens(u64),
    /// Any length fits, and the model has no longest one.
    Any,
}

/// A cache some of whose layers hold the last tokens of the context only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayeredCache {
    /// That of the layers which hold the whole context.
    pub whole: Cache,
    /// Layers which hold a window, with heads as those of `whole`.
    pub windowed: u64,
    /// What those hold at most. Unit: tokens.
    pub window: u64,
}

impl LayeredCache {
    fn of_windowed(self) -> Cache {
        Cache { n_layer: self.windowed, ..self.whole }
    }

    /// What one token of one sequence adds as long as the window is not full. Unit: bytes.
    #[must_use]
    pub fn bytes_per_token(self) -> u64 {
        self.whole.bytes_per_token() + self.of_windowed().bytes_per_token()
    }

    /// As [`Cache::bytes`].
    #[must_use]
    pub fn bytes(self, batch: u64, tokens: u64) -> u64 {
        let of_windowed = self.of_windowed().bytes(batch, tokens.min(self.window));
        self.whole.bytes(batch, tokens).saturating_add(of_windowed)
    }

    /// As [`Cache::crossover_tokens`]. `None`: it is never as large.
    #[must_use]
    pub fn crossover_tokens(self, weight_bytes: u64) -> Option<u64> {
        self.tokens_in(weight_bytes)
    }

    /// As [`Cache::longest_context`].
    #[must_use]
    pub fn longest_context(self, memory: u64, weight_bytes: u64, batch: u64) -> Option<Longest> {
        let of_each = memory.checked_sub(weight_bytes)?.checked_div(batch)?;
        let bounds = [self.tokens_in(of_each), self.whole.n_positions];
        Some(bounds.into_iter().flatten().min().map_or(Longest::Any, Longest::Tokens))
    }

    /// As [`Cache::largest_batch`].
    #[must_use]
    pub fn largest_batch(self, memory: u64, weight_bytes: u64, tokens: u64) -> Option<u64> {
        memory.checked_sub(weight_bytes)?.checked_div(self.bytes(1, tokens))
    }

    /// Whole tokens of one sequence that so many bytes hold. `None`: any number.
    fn tokens_in(self, bytes: u64) -> Option<u64> {
        let within = bytes.checked_div(self.bytes_per_token())?;
        if self.windowed == 0 || within < self.window {
            return Some(within);
        }
        // A full window fits, so that its bytes are no more than there are.
        let full = self.of_windowed().bytes_per_token() * self.window;
        (bytes - full).checked_div(self.whole.bytes_per_token())
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
    fn windowed_layers_hold_their_window_and_no_more() {
        let element = Cache { n_layer: 1, n_kv_head: 1, head_dim: 1, element_bytes: 1, n_positions: None };
        // Two bytes a token in the layer that holds all, six in those that hold ten tokens.
        let cache = LayeredCache { whole: element, windowed: 3, window: 10 };
        assert_eq!((cache.bytes_per_token(), cache.bytes(1, 7), cache.bytes(2, 25)), (8, 56, 2 * (50 + 60)));
        for tokens in [0, 1, 9, 10, 11, 12, 1000] {
            let bytes = cache.bytes(1, tokens);
            assert_eq!(cache.crossover_tokens(bytes), Some(tokens), "{tokens}");
            assert_eq!(cache.longest_context(5 + 3 * bytes + 2, 5, 3), Some(Longest::Tokens(tokens)), "{tokens}");
        }
        assert_eq!(cache.largest_batch(5 + 3 * cache.bytes(1, 25), 5, 25), Some(3));
        let all_windowed = LayeredCache { whole: Cache { n_layer: 0, ..element }, ..cache };
        assert_eq!((all_windowed.bytes(1, 1000), all_windowed.crossover_tokens(59)), (60, Some(9)));
        assert_eq!(all_windowed.crossover_tokens(61), None, "it never grows so large");
        assert_eq!(all_windowed.longest_context(100, 0, 1), Some(Longest::Any));
        let bounded = LayeredCache { whole: Cache { n_positions: Some(40), ..all_windowed.whole }, ..all_windowed };
        assert_eq!(bounded.longest_context(100, 0, 1), Some(Longest::Tokens(40)));
        let plain = LayeredCache { whole: CACHE, windowed: 0, window: 0 };
        for weights in [0, 1, 999_999, 1 << 40] {
            assert_eq!(plain.crossover_tokens(weights), CACHE.crossover_tokens(weights));
            let longest = CACHE.longest_context(1 << 41, weights, 7).map(Longest::Tokens);
            assert_eq!(plain.longest_context(1 << 41, weights, 7), longest);
        }
    }

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
