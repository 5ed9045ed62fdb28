"""Where work ran, and what proves it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from . import worker_pb2 as pb
from .evidence import PHASES, PhaseWindow
from .model import Model
from .settings import DTYPES, EngineSettings


def of_load(model: Model, settings: EngineSettings) -> pb.Attribution:
    """Where the parameters lie. Nothing has run, so nothing is claimed to have."""
    return _attribution(settings, model.placement())


def of_call(
    model: Model,
    settings: EngineSettings,
    windows: Sequence[PhaseWindow],
    *,
    cache_devices: set[str],
    logits_devices: set[str],
) -> tuple[pb.Attribution, list[str]]:
    """What ran, as far as it is proven, and what speaks against its being what was asked for."""
    places = model.placement() | {"cache.device": cache_devices, "logits.device": logits_devices}
    attribution = _attribution(settings, places)
    complaints = [window.complaint for window in windows if not window.proven]
    for what, found in places.items():
        asked = DTYPES[settings.dtype] if what.endswith(".dtype") else settings.device
        # `cuda` leaves the device's number open.
        if any(asked not in (one, one.partition(":")[0]) for one in found):
            complaints.append(f"{what} is {_listed(found)}, not {asked}")
    for window in windows:
        seen = window.evidence
        key = f"{PHASES[window.run.phase]}.compiled"
        attribution.evidence[key] = f"{seen.executions} executions in {seen.calls} calls"
    if windows and logits_devices and not complaints:
        attribution.actual = settings.requested
    return attribution, complaints


def _attribution(settings: EngineSettings, places: dict[str, set[str]]) -> pb.Attribution:
    evidence = {what: _listed(found) for what, found in places.items() if found}
    evidence["threads"] = str(torch.get_num_threads())
    evidence["torch.version"] = str(torch.__version__)
    return pb.Attribution(requested=settings.requested, evidence=evidence)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))
