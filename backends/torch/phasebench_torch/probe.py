"""The most probable tokens of a call's passes, for checks: no call that is measured is probed."""

from __future__ import annotations

import torch

from . import worker_pb2 as pb


class Probe:
    """Is shown the logits of every pass, and keeps the `top` most probable tokens of each row."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._passes: list[tuple[list[list[int]], list[list[float]]]] = []

    def __call__(self, logits: torch.Tensor) -> None:
        """Takes in the logits [rows, vocabulary] of a pass."""
        best = logits.double().log_softmax(-1).topk(min(self._top, logits.shape[-1]))
        self._passes.append((best.indices.tolist(), best.values.tolist()))

    def rows(self) -> list[pb.RowLogprobs]:
        """One for each row, with an entry for each pass."""
        rows = len(self._passes[0][0]) if self._passes else 0
        return [
            pb.RowLogprobs(
                tokens=[pb.TokenLogprobs(ids=ids[row], logprobs=values[row]) for ids, values in self._passes]
            )
            for row in range(rows)
        ]
