"""Inputs of the passes: padding, positions, masks."""

from __future__ import annotations

import torch

from phasebench_torch.rows import CachedRows, GrowingRows, KeptRows

CPU = torch.device("cpu")
PROMPTS = [[5, 6, 7], [8]]


def seen(mask: torch.Tensor) -> list[list[str]]:
    """For each row and query, the columns it sees as `x`."""
    return [["".join("x" if value == 0 else "." for value in query) for query in row[0]] for row in mask.tolist()]


def cached(computed: int = 4) -> CachedRows:
    return CachedRows(PROMPTS, padded_to=4, computed=computed, steps=2, columns=7, dtype=torch.float32, device=CPU)


def test_shorter_rows_are_padded_on_the_left() -> None:
    rows = cached()
    assert rows.prompt_ids.tolist() == [[0, 5, 6, 7], [0, 0, 0, 8]]
    assert rows.prompt_positions.tolist() == [[0, 0, 1, 2], [0, 0, 0, 0]]
    assert seen(rows.prompt_mask) == [
        ["x......", ".x.....", ".xx....", ".xxx..."],
        ["x......", ".x.....", "..x....", "...x..."],
    ]


def test_a_bucket_pads_on_the_right_and_no_token_sees_it() -> None:
    rows = cached(computed=6)
    assert rows.prompt_ids.tolist() == [[0, 5, 6, 7, 0, 0], [0, 0, 0, 8, 0, 0]]
    assert [queries[:4] for queries in seen(rows.prompt_mask)] == seen(cached().prompt_mask)
    assert rows.last.tolist() == [3]
    rows.feed(0, torch.tensor([[9], [10]]))
    assert seen(rows.mask) == [[".xxxx.."], ["...xx.."]]


def test_a_step_is_one_column_and_the_mask_covers_the_cache() -> None:
    rows = cached()
    for ahead in (False, True):
        if ahead:
            rows.restart()
        rows.take()
        rows.feed(0, torch.tensor([[9], [10]]))
        assert (rows.ids.tolist(), rows.positions.tolist()) == ([[9], [10]], [[3], [1]])
        assert seen(rows.mask) == [[".xxxx.."], ["...xx.."]]
        rows.feed(1, torch.tensor([[11], [12]]))
        assert (rows.ids.tolist(), rows.positions.tolist()) == ([[11], [12]], [[4], [2]])
        assert seen(rows.mask) == [[".xxxxx."], ["...xxx."]]


def test_steps_allocate_nothing() -> None:
    rows = cached()
    before = [tensor.data_ptr() for tensor in (rows.ids, rows.positions, rows.mask)]
    rows.feed(0, torch.tensor([[1], [2]]))
    assert [tensor.data_ptr() for tensor in (rows.ids, rows.positions, rows.mask)] == before


def test_prompts_of_the_same_lengths_use_the_same_tensors() -> None:
    kept = KeptRows(7, torch.float32, CPU)
    rows = kept.of(PROMPTS, padded_to=4, computed=6, steps=2)
    before = [tensor.data_ptr() for tensor in (rows.prompt_ids, rows.prompt_mask, rows.ids, rows.positions, rows.mask)]
    rows.take()
    rows.feed(0, torch.tensor([[9], [10]]))
    rows.feed(1, torch.tensor([[11], [12]]))
    prompts = [[1, 2, 3], [4]]
    rows = kept.of(prompts, padded_to=4, computed=6, steps=3)
    rows.take()
    anew = CachedRows(prompts, padded_to=4, computed=6, steps=3, columns=7, dtype=torch.float32, device=CPU)
    tensors = (rows.prompt_ids, rows.prompt_mask, rows.ids, rows.positions, rows.mask)
    assert [tensor.data_ptr() for tensor in tensors] == before
    for name in ("prompt_ids", "prompt_positions", "prompt_mask", "last", "positions", "mask", "tokens"):
        assert torch.equal(getattr(rows, name), getattr(anew, name)), name


def test_prompts_of_other_lengths_get_their_own_masks() -> None:
    kept = KeptRows(7, torch.float32, CPU)
    kept.of(PROMPTS, padded_to=4, computed=4, steps=2)
    rows = kept.of([[1, 2], [4, 5]], padded_to=4, computed=4, steps=2)
    assert rows.prompt_positions.tolist() == [[0, 0, 0, 1], [0, 0, 0, 1]]
    assert seen(rows.prompt_mask)[0] == ["x......", ".x.....", "..x....", "..xx..."]


def test_without_a_cache_the_rows_grow() -> None:
    rows = GrowingRows(PROMPTS, padded_to=3, steps=3, dtype=torch.float32, device=CPU)
    rows.feed(1, torch.tensor([[9], [10]]))
    rows.feed(2, torch.tensor([[11], [12]]))
    ids, positions, mask = rows.view(2)
    assert ids.tolist() == [[5, 6, 7, 9, 11], [0, 0, 8, 10, 12]]
    assert positions.tolist() == [[0, 1, 2, 3, 4], [0, 0, 0, 1, 2]]
    assert [queries[-1] for queries in seen(mask)] == ["xxxxx", "..xxx"]
    assert rows.view(0)[0].tolist() == [[5, 6, 7], [0, 0, 8]]
