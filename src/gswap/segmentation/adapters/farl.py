"""FaRL's face parser (Zheng et al., arXiv 2112.03109) as released with ``facer``: 19 classes on an aligned 448² square.

The network takes RGB in [0, 1] and returns logits (and, as TorchScript, an auxiliary output that nobody needs).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from gswap.foundation.errors import WeightsError
from gswap.foundation.onnx import open_network
from gswap.foundation.types import Masks, RgbImage
from gswap.segmentation.adapters.parsing import Network, parse_head

SIDE = 448
"""Side of the square, pixels."""
CLASSES = (
    *("background", "neck", "face", "cloth", "rr", "lr", "rb", "lb", "re", "le"),
    *("nose", "imouth", "llip", "ulip", "hair", "eyeg", "hat", "earr", "neck_l"),
)
"""Names of the outputs of the ``celebm`` network, in order."""


class FarlParser:
    """A :class:`~gswap.foundation.protocols.HeadParser`.

    Args:
        path: The verified network: TorchScript (``.pt``) or ONNX.
        device: ``cpu`` or ``cuda``.
        threads: Threads of an ONNX network.

    Raises:
        WeightsError: The file is no such network.
    """

    def __init__(self, path: Path, *, device: str = "cpu", threads: int = 1) -> None:
        if path.suffix == ".onnx":
            self._network = _onnx(path, device, threads)
        else:
            self._network = _torchscript(path, device)

    def __call__(self, image: RgbImage, landmarks: Float[np.ndarray, "478 3"]) -> Masks:
        """Soft masks of the person with these landmarks."""
        return parse_head(image, landmarks, self._network, CLASSES, SIDE)


def _torchscript(path: Path, device: str) -> Network:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the published file is TorchScript
            module: Any = torch.jit.load(str(path), map_location=device).eval()
    except RuntimeError as error:
        raise WeightsError("Expected a TorchScript network, found none.", path=path) from error

    def run(picture: Float[np.ndarray, "s s 3"]) -> Float[np.ndarray, "k s s"]:
        with torch.inference_mode():
            tensor = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))[None]).to(device)
            out = module(tensor)
            return (out[0] if isinstance(out, (tuple, list)) else out)[0].float().cpu().numpy()

    return run


def _onnx(path: Path, device: str, threads: int) -> Network:
    session = open_network(path, device=device, threads=threads)
    name = session.get_inputs()[0].name

    def run(picture: Float[np.ndarray, "s s 3"]) -> Float[np.ndarray, "k s s"]:
        tensor = np.ascontiguousarray(picture.transpose(2, 0, 1))[None]
        return np.asarray(session.run(None, {name: tensor})[0])[0]

    return run
