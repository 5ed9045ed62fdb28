"""What a model folder holds, read from its configuration and the headers of its weights. Needs no torch."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import invalid, unsupported

FAMILIES = ("gpt2", "llama", "phi", "qwen2")
"""Model types whose forward pass is known to take the masks and caches that this worker makes."""

_ELEMENT_BYTES = {"f32": 4, "f16": 2, "bf16": 2}

# Constants that old checkpoints store beside the weights.
_NOT_A_PARAMETER = re.compile(r"\.attn\.(masked_)?bias$|rotary_emb\.inv_freq$")
_HEADER_LIMIT = 100 << 20


@dataclass(frozen=True)
class Folder:
    """A model folder that can be loaded."""

    path: Path
    family: str
    """One of `FAMILIES`."""
    parameters: int
    """Elements of all weights, a tied output head once."""

    def bytes(self, dtype: str) -> int:
        """Bytes of all weights as element type `dtype`."""
        return self.parameters * _ELEMENT_BYTES[dtype]


def inspect(path: str) -> Folder:
    """Looks at a folder in Hugging Face form.

    Raises:
        WorkerError: INVALID where something is missing or broken, UNSUPPORTED for another model family.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise invalid(f"{path} is not a folder that this worker can see")
    config = _json(folder / "config.json")
    family = config.get("model_type")
    if family not in FAMILIES:
        raise unsupported(f"{folder / 'config.json'}: model_type is `{family}`: known are {', '.join(FAMILIES)}")
    shapes: dict[str, int] = {}
    for file in _weight_files(folder):
        shapes.update(_elements(file))
    # transformers ties by default where the configuration says nothing.
    tied = config.get("tie_word_embeddings", family == "gpt2")
    counted = (
        elements
        for name, elements in shapes.items()
        if not _NOT_A_PARAMETER.search(name) and not (tied and name == "lm_head.weight")
    )
    return Folder(folder, str(family), sum(counted))


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        names = _json(index).get("weight_map")
        if not isinstance(names, dict):
            raise invalid(f"{index} has no weight_map")
        return [folder / Path(name).name for name in sorted(set(names.values()))]
    return [folder / "model.safetensors"]


def _elements(file: Path) -> dict[str, int]:
    """Elements of each tensor in a safetensors file, from its header."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > _HEADER_LIMIT:
                raise invalid(f"{file}: a header of {length} bytes is no safetensors header")
            header = json.loads(stream.read(length))
        return {name: math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    except OSError as error:
        raise invalid(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise invalid(f"{file} has no safetensors header: {error}") from error


def _json(file: Path) -> dict[str, object]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise invalid(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise invalid(f"{file} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise invalid(f"{file} is not a JSON object")
    return found
