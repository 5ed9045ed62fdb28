"""Token ids, positions and attention masks of a call, in tensors that are there before it is timed.

Rows are padded on the left to one length. A bucket pads further on the right; its columns are hidden from every token
and overwritten in the KV cache by the decode steps. The mask is added to the attention scores: 0 lets a query see a
column, the most negative number hides it. Padding sees at least itself, so that no row of scores is hidden as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


class CachedRows:
    """Inputs of a prefill over `computed` columns and of decode steps of one column each, over a cache of `columns`.

    `padded_to` columns are prompt; `computed` exceeds that where a bucket pads on the right.
    """

    def __init__(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        padded_to: int,
        computed: int,
        steps: int,
        columns: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.padded_to = padded_to
        batch = len(prompts)
        ids, positions, pads = _padded(prompts, padded_to, computed)
        self.prompt_ids = ids.to(device)
        # The same ids in host memory, as numbers that are set without making a tensor.
        self._staged = ids
        self._host = ids.numpy()
        self.prompt_positions = positions.to(device)
        self.prompt_mask = _causal(pads, computed, columns, dtype).to(device)
        self.last = torch.tensor([padded_to - 1], device=device)
        """Column of the prefill whose logits are wanted."""
        self.ids = torch.zeros((batch, 1), dtype=torch.int64, device=device)
        self.positions = torch.zeros((batch, 1), dtype=torch.int64, device=device)
        self.mask = torch.zeros((batch, 1, 1, columns), dtype=dtype, device=device)
        self.tokens = _new_tokens(batch, steps, device)
        """New tokens, the first one from the prefill."""
        self._first_position = torch.tensor([[len(row)] for row in prompts], device=device)
        # What the last prompt column sees, before any new column is opened.
        self._first_mask = self.prompt_mask[:, :, padded_to - 1 : padded_to]
        self._restarted = False
        self.restart()

    def replace(self, prompts: Sequence[Sequence[int]], steps: int) -> None:
        """Takes other prompts, each as long as the one in its place, into the same tensors."""
        for row, prompt in zip(self._host, prompts, strict=True):
            row[self.padded_to - len(prompt) : self.padded_to] = prompt
        if self._staged is not self.prompt_ids:
            self.prompt_ids.copy_(self._staged)
        if self.tokens.shape[1] != steps + 1:
            self.tokens = _new_tokens(len(prompts), steps, self.tokens.device)

    def take(self) -> None:
        """Makes sure that they stand before the first decode step; they do not any more once they are used."""
        self.restart()
        self._restarted = False

    def restart(self) -> None:
        """Goes back to before the first decode step, ahead of the next use where there is time."""
        if not self._restarted:
            self.positions.copy_(self._first_position)
            self.mask.copy_(self._first_mask)
        self._restarted = True

    def feed(self, step: int, tokens: torch.Tensor) -> None:
        """Takes `tokens` [rows, 1] as the next column: the input of decode step `step`, counted from 0."""
        self.ids.copy_(tokens)
        if step > 0:
            self.positions.add_(1)
        self.mask.select(3, self.padded_to + step).zero_()


class KeptRows:
    """The inputs of the call before, kept: one whose prompts are as long only puts its own token ids into them."""

    def __init__(self, columns: int, dtype: torch.dtype, device: torch.device) -> None:
        self._columns = columns
        self._dtype = dtype
        self._device = device
        self._shape: object = None
        self._rows: CachedRows | None = None

    def of(self, prompts: Sequence[Sequence[int]], *, padded_to: int, computed: int, steps: int) -> CachedRows:
        """The inputs for `prompts`; those of the call before are not to be used any more."""
        shape = ([len(row) for row in prompts], padded_to, computed)
        if self._rows is None or shape != self._shape:
            # Freed first: there never are two.
            self._rows = None
            self._rows = CachedRows(
                prompts,
                padded_to=padded_to,
                computed=computed,
                steps=steps,
                columns=self._columns,
                dtype=self._dtype,
                device=self._device,
            )
            self._shape = shape
        else:
            self._rows.replace(prompts, steps)
        return self._rows

    def restart(self) -> None:
        """Makes them ready for their next use, so that the next call need not."""
        if self._rows is not None:
            self._rows.restart()


class GrowingRows:
    """Inputs of passes without a cache: everything so far, one column more each time."""

    def __init__(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        padded_to: int,
        steps: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.padded_to = padded_to
        columns = padded_to + max(steps, 1) - 1
        ids, positions, pads = _padded(prompts, padded_to, columns)
        lengths = torch.tensor([[len(row)] for row in prompts])
        positions[:, padded_to:] = lengths + torch.arange(columns - padded_to)
        self._ids = ids.to(device)
        self._positions = positions.to(device)
        self._mask = _causal(pads, columns, columns, dtype).to(device)
        self.tokens = torch.zeros((len(prompts), steps), dtype=torch.int64, device=device)

    def view(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids, positions and mask of pass `step`, counted from 0; views, nothing is copied."""
        width = self.padded_to + step
        return self._ids[:, :width], self._positions[:, :width], self._mask[:, :, :width, :width]

    def feed(self, step: int, tokens: torch.Tensor) -> None:
        """Appends `tokens` [rows, 1], which pass `step` - 1 chose, for pass `step`."""
        column = self.padded_to + step - 1
        self._ids[:, column : column + 1].copy_(tokens)


def _new_tokens(rows: int, steps: int, device: torch.device) -> torch.Tensor:
    return torch.zeros((rows, steps + 1), dtype=torch.int64, device=device)


def _padded(
    prompts: Sequence[Sequence[int]], padded_to: int, columns: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids and positions [rows, columns], 0 at padding, and the left padding of each row."""
    right = [0] * (columns - padded_to)
    lefts = [padded_to - len(row) for row in prompts]
    positions = torch.tensor([[0] * left + [*range(padded_to - left)] + right for left in lefts])
    ids = torch.tensor([[0] * left + [*row] + right for left, row in zip(lefts, prompts, strict=True)])
    return ids, positions, torch.tensor(lefts)


def _causal(pads: torch.Tensor, queries: int, columns: int, dtype: torch.dtype) -> torch.Tensor:
    """Additive mask [rows, 1, queries, columns]: each query sees itself and what lies before it, no padding."""
    query = torch.arange(queries).view(1, -1, 1)
    column = torch.arange(columns).view(1, 1, -1)
    seen = ((column <= query) & (column >= pads.view(-1, 1, 1))) | (column == query)
    hidden = torch.tensor(torch.finfo(dtype).min, dtype=dtype)
    return torch.where(seen, torch.zeros((), dtype=dtype), hidden).unsqueeze(1)
