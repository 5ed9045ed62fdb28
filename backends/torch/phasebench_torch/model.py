"""The model and its static KV caches."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from . import worker_pb2 as pb
from .clock import now
from .errors import WorkerError, invalid
from .settings import DTYPES, EngineSettings
from .weights import Folder


@dataclass
class Model:
    """A loaded model, as transformers made it."""

    module: torch.nn.Module
    config: Any
    device: torch.device
    dtype: torch.dtype
    parameters: list[torch.nn.Parameter] = field(init=False)
    """All parameters, gathered once: walking the modules takes longer than asking each where it lies."""
    _placed: tuple[torch.device, torch.dtype, dict[str, set[str]]] | None = field(init=False, default=None)
    # Where all parameters lay when they were last asked, if in one place.

    def __post_init__(self) -> None:
        """Gathers the parameters."""
        self.parameters = list(self.module.parameters())

    @property
    def vocabulary(self) -> int:
        """Token ids are below this."""
        return int(self.config.vocab_size)

    @property
    def context(self) -> int:
        """Most positions of one row."""
        return int(self.config.max_position_embeddings)

    def placement(self) -> dict[str, set[str]]:
        """Devices and element types that the parameters really have; each is asked every time."""
        if self._placed:
            device, dtype, names = self._placed
            if all(one.device == device and one.dtype == dtype for one in self.parameters):
                return names
        devices = {parameter.device for parameter in self.parameters}
        dtypes = {parameter.dtype for parameter in self.parameters}
        names = {
            "parameters.device": set(map(str, devices)),
            "parameters.dtype": {str(dtype).removeprefix("torch.") for dtype in dtypes},
        }
        alone = len(devices) == 1 and len(dtypes) == 1
        self._placed = (devices.pop(), dtypes.pop(), names) if alone else None
        return names


def load(folder: Folder, settings: EngineSettings, part: Callable[[str, int], None]) -> Model:
    """Loads a folder's weights to the device.

    `part` is told the name of each part of the load and its duration in nanoseconds, as soon as it is done; what it
    raises ends the load.

    Raises:
        WorkerError: INVALID where the weights do not fit the configuration.
    """
    begin = now()
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    part("import transformers", now() - begin)

    begin = now()
    module, info = AutoModelForCausalLM.from_pretrained(
        str(folder.path),
        dtype=getattr(torch, DTYPES[settings.dtype]),
        attn_implementation="sdpa",
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    # transformers fills missing weights with random numbers.
    wrong = {kind: sorted(map(str, info[kind])) for kind in ("missing_keys", "mismatched_keys") if info[kind]}
    if wrong:
        raise invalid(f"the weights of {folder.path} do not fit its configuration: {wrong}")
    module = module.eval().requires_grad_(False)
    touch(module)
    part("weights to host memory", now() - begin)

    device = torch.device(settings.device)
    if settings.on_cuda:
        begin = now()
        module = module.to(device)
        torch.cuda.synchronize(device)
        part("weights to the device", now() - begin)
    return Model(module, module.config, device, getattr(torch, DTYPES[settings.dtype]))


def touch(module: torch.nn.Module) -> None:
    """Reads one number of every page that the weights lie in.

    What a file is mapped into is not in memory yet: without this the first call would read the weights, in its own
    time, and the load would look as if it took none.
    """
    for weights in (*module.parameters(), *module.buffers()):
        numbers = weights.detach().reshape(-1)
        numbers[:: max(1, mmap.PAGESIZE // numbers.element_size())].sum()


class EmptyingCache:
    """A static KV cache that is emptied before each use, ahead of it where there is time."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache
        """What a forward pass takes."""
        self._empty = False

    def take(self) -> None:
        """Makes sure that it is empty; it is not any more once it is used."""
        if not self._empty:
            self.cache.reset()
        self._empty = False

    def empty(self) -> None:
        """Empties it ahead of its next use."""
        if not self._empty:
            self.cache.reset()
        self._empty = True


class Caches:
    """Static KV caches of one model, one for each number of rows, kept so that their addresses stay."""

    def __init__(self, model: Model, columns: int) -> None:
        self._model = model
        self.columns = columns
        """Columns of every cache."""
        self._by_rows: dict[int, EmptyingCache] = {}

    def of(self, rows: int) -> EmptyingCache:
        """The cache for calls of `rows` rows, allocated."""
        cache = self._by_rows.get(rows)
        if cache is None:
            cache = self._by_rows[rows] = EmptyingCache(self._allocate(rows))
        return cache

    def empty(self) -> None:
        """Empties all of them, so that the next call need not."""
        for cache in self._by_rows.values():
            cache.empty()

    def _allocate(self, rows: int) -> Any:
        from transformers import StaticCache

        config = self._model.config
        heads = int(config.num_attention_heads)
        cache = StaticCache(config=config, max_cache_len=self.columns)
        cache.early_initialization(
            batch_size=rows,
            num_heads=int(getattr(config, "num_key_value_heads", None) or heads),
            head_dim=int(getattr(config, "head_dim", None) or config.hidden_size // heads),
            dtype=self._model.dtype,
            device=self._model.device,
        )
        if any(layer.get_max_length() != self.columns for layer in cache.layers):
            raise WorkerError(pb.Error.UNSUPPORTED, "the model's cache has layers that slide: their columns are fewer")
        return cache


def cache_bytes(cache: Any) -> int:
    """Bytes of a cache's keys and values."""
    return sum(
        tensor.numel() * tensor.element_size() for layer in cache.layers for tensor in (layer.keys, layer.values)
    )


def cache_devices(cache: Any) -> set[str]:
    """Devices that a cache's keys and values lie on."""
    return {str(tensor.device) for layer in cache.layers for tensor in (layer.keys, layer.values)}


def rewind(cache: Any, columns: int) -> None:
    """Makes the next column to be written `columns`, in place; what lies behind it is overwritten."""
    for layer in cache.layers:
        layer.cumulative_length.fill_(columns)
