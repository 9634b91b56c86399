"""What a fit needs to go on after a kill as if nothing had happened: weights, optimiser, step and loss curve, by name.

The order of the frames needs no state: it is a function of the seed and the step.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gswap.foundation.errors import InputError
from gswap.foundation.store import read_arrays, write_arrays, write_bytes
from gswap.portrait.io import portrait_arrays, portrait_meta
from gswap.portrait.losses import Losses
from gswap.portrait.model import Portrait

CHECKPOINT = "checkpoint.safetensors"
CURVE = "losses.jsonl"
MOMENTS = ("exp_avg", "exp_avg_sq")
HELD = ("initial_features", "initial_delta", "initial_log_scale", "initial_opacity_logit", "hold", "hair")
"""Buffers of the field that only the fit needs: what the tethers hold to."""


class Curve(NamedTuple):
    """The loss curve so far, one row a step."""

    frames: list[int]
    terms: list[list[float]]

    def add(self, frame: int, losses: Losses) -> None:
        """Append one step."""
        self.frames.append(frame)
        self.terms.append([float(term.detach()) for term in losses])

    def lines(self) -> bytes:
        """As JSON lines."""
        rows = []
        for step, (frame, terms) in enumerate(zip(self.frames, self.terms, strict=True)):
            named = {name: round(value, 6) for name, value in zip(Losses._fields, terms, strict=True)}
            rows.append(json.dumps({"step": step, "frame": frame, **named}))
        return ("\n".join(rows) + "\n").encode() if rows else b""


def write_checkpoint(
    folder: Path, portrait: Portrait, optimizer: torch.optim.Optimizer, names: dict[str, nn.Parameter], curve: Curve
) -> None:
    """Store the state after ``len(curve.frames)`` steps (each file atomically, the curve first)."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = portrait_arrays(portrait)
    arrays |= {f"held.{name}": getattr(portrait.network.field, name).numpy() for name in HELD}
    for name, parameter in names.items():
        state = optimizer.state.get(parameter, {})
        if state:
            arrays |= {f"adam.{name}.{moment}": state[moment].numpy() for moment in MOMENTS}
            arrays[f"adam.{name}.step"] = np.asarray([float(state["step"])], np.float32)
    arrays["curve.frames"] = np.asarray(curve.frames, np.int64)
    arrays["curve.terms"] = np.asarray(curve.terms, np.float64).reshape(-1, len(Losses._fields))
    write_bytes(folder / CURVE, curve.lines())
    write_arrays(folder / CHECKPOINT, arrays, portrait_meta(portrait))


def read_checkpoint(
    folder: Path, portrait: Portrait, optimizer: torch.optim.Optimizer, names: dict[str, nn.Parameter]
) -> Curve:
    """Bring portrait and optimiser to the last stored state; an empty curve when there is none.

    A checkpoint of another track or configuration is ignored: the fit starts anew and overwrites it.

    Raises:
        InputError: The checkpoint is damaged.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return Curve([], [])
    arrays, meta = read_arrays(path)
    if meta != json.loads(json.dumps(portrait_meta(portrait))):
        return Curve([], [])
    prefix = "network."
    state = {k.removeprefix(prefix): torch.from_numpy(v) for k, v in arrays.items() if k.startswith(prefix)}
    try:
        portrait.network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError("The checkpoint does not fit this job.", hint="Delete it.", path=path) from error
    for name in HELD:
        getattr(portrait.network.field, name).copy_(torch.from_numpy(arrays[f"held.{name}"]))
    portrait.visits[:] = arrays["visits"]
    for name, parameter in names.items():
        if f"adam.{name}.step" in arrays:
            # zeros_like keeps the memory format of the parameter, which decides the order of summation later.
            moments: dict[str, Tensor] = {
                m: torch.zeros_like(parameter).copy_(torch.from_numpy(arrays[f"adam.{name}.{m}"])) for m in MOMENTS
            }
            optimizer.state[parameter] = {"step": torch.tensor(float(arrays[f"adam.{name}.step"][0])), **moments}
    return Curve(arrays["curve.frames"].tolist(), arrays["curve.terms"].tolist())
