"""A portrait is one file: safetensors with a JSON header. It needs the body model by name, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gswap.field.binding import Binding
from gswap.field.surface import head_surface
from gswap.foundation.errors import InputError
from gswap.foundation.protocols import BodyModel
from gswap.foundation.settings import result_settings
from gswap.foundation.store import read_arrays, write_arrays
from gswap.foundation.types import BodyShape
from gswap.portrait.config import FitConfig
from gswap.portrait.model import Portrait, PortraitModel

KIND = "portrait"


def save_portrait(path: Path, portrait: Portrait) -> None:
    """Write a portrait (atomically)."""
    write_arrays(path, portrait_arrays(portrait), portrait_meta(portrait))


def load_portrait(path: Path, model: BodyModel) -> Portrait:
    """Read a portrait.

    Args:
        path: File written by :func:`save_portrait`.
        model: The body model it was fitted with.

    Raises:
        InputError: Not a portrait, or one of another body model.
    """
    arrays, meta = read_arrays(path)
    return portrait_from(arrays, meta, model, path)


def portrait_arrays(portrait: Portrait) -> dict[str, np.ndarray]:
    """All numbers of a portrait by name."""
    weights = {f"network.{k}": v.detach().cpu().numpy() for k, v in portrait.network.state_dict().items()}
    binding, shape = portrait.binding, portrait.shape
    return weights | {
        "binding.face": binding.face,
        "binding.bary": binding.bary,
        "binding.spacing": binding.spacing,
        "shape.coefficients": shape.coefficients,
        "shape.offsets": shape.offsets,
        "visits": portrait.visits,
    }


def portrait_meta(portrait: Portrait) -> dict[str, Any]:
    """Everything about a portrait that is not a number in an array."""
    return {
        "kind": KIND,
        "body": portrait.shape.model,
        "track": portrait.track_digest,
        "config": {name: getattr(portrait.cfg, name) for name in result_settings(portrait.cfg)},
    }


def portrait_from(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any], model: BodyModel, path: Path) -> Portrait:
    """The inverse of :func:`portrait_arrays` and :func:`portrait_meta`.

    Raises:
        InputError: Not a portrait, or one of another body model.
    """
    if meta.get("kind") != KIND:
        raise InputError(f"Expected a portrait, found {meta.get('kind', 'a file of another kind')!r}.", path=path)
    try:
        body, track = meta["body"], meta["track"]
        if body != model.name:
            raise InputError(
                f"The portrait was fitted with the body model {body!r}, the job uses {model.name!r}.", path=path
            )
        cfg = FitConfig(**({"expressions": 0} | meta["config"]))  # portraits from before there were any
        shape = BodyShape(body, arrays["shape.coefficients"], arrays["shape.offsets"])
        binding = Binding(arrays["binding.face"], arrays["binding.bary"], arrays["binding.spacing"])
        surface = head_surface(model, shape, upper_body=cfg.region == "upper-body")
        network = PortraitModel(surface, binding, len(arrays["visits"]), cfg)
        prefix = "network."
        state = {k.removeprefix(prefix): torch.from_numpy(v) for k, v in arrays.items() if k.startswith(prefix)}
        network.load_state_dict(state)
    except (KeyError, TypeError, RuntimeError, IndexError, ValueError) as error:
        raise InputError(
            f"The portrait does not match this version of gswap ({error}).", hint="Fit it again.", path=path
        ) from error
    return Portrait(network, surface, binding, shape, cfg, arrays["visits"], track)
