"""The model and its static KV caches."""

from __future__ import annotations

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
        """Devices and element types that the parameters really have."""
        devices = {parameter.device for parameter in self.parameters}
        dtypes = {parameter.dtype for parameter in self.parameters}
        return {
            "parameters.device": set(map(str, devices)),
            "parameters.dtype": {str(dtype).removeprefix("torch.") for dtype in dtypes},
        }


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
    part("weights to host memory", now() - begin)

    device = torch.device(settings.device)
    if settings.on_cuda:
        begin = now()
        module = module.to(device)
        torch.cuda.synchronize(device)
        part("weights to the device", now() - begin)
    return Model(module, module.config, device, getattr(torch, DTYPES[settings.dtype]))


class Caches:
    """Static KV caches of one model, one for each number of rows, kept so that their addresses stay."""

    def __init__(self, model: Model, columns: int) -> None:
        self._model = model
        self.columns = columns
        """Columns of every cache."""
        self._by_rows: dict[int, Any] = {}

    def of(self, rows: int) -> Any:
        """The cache for calls of `rows` rows, allocated; what it holds is to be reset."""
        cache = self._by_rows.get(rows)
        if cache is None:
            cache = self._by_rows[rows] = self._allocate(rows)
        return cache

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
