"""CLIP's image encoder (Radford et al., arXiv 2103.00020) through transformers, from local safetensors: no network."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gswap.foundation.errors import MissingExtraError, WeightsError
from gswap.foundation.types import RgbImage

SIDE = 224
"""Pixels, where the configuration does not say."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


class ClipImages:
    """Embeds whole frames.

    Args:
        folder: The verified part ``clip-vit-b32``: ``config.json`` and ``model.safetensors``.

    Raises:
        MissingExtraError: transformers is not installed.
        WeightsError: The folder holds no CLIP.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from transformers import CLIPVisionModelWithProjection
            from transformers.utils import logging
        except ImportError as error:
            raise MissingExtraError("CLIP", "diffusion") from error
        shown, drawn = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        logging.set_verbosity_error()  # the file also holds the text encoder, which is not wanted here
        try:
            self._model = CLIPVisionModelWithProjection.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise WeightsError(f"Expected CLIP, found something else ({error}).", path=folder) from error
        finally:
            logging.set_verbosity(shown)
            if drawn:
                logging.enable_progress_bar()
        self._model.eval()
        side = self._model.config.image_size
        self._side = side if isinstance(side, int) else SIDE

    @torch.no_grad()
    def __call__(self, image: RgbImage) -> Float[np.ndarray, "d"]:
        """Image embedding (not normalised)."""
        return self._model(prepare(image, self._side)).image_embeds[0].numpy().astype(np.float64)


def prepare(image: RgbImage, side: int) -> Float[Tensor, "1 3 s s"]:
    """What the network sees: the shorter side scaled to ``side``, the centre cut out, colours normalised."""
    height, width = image.shape[:2]
    scale = side / min(height, width)
    size = (max(round(width * scale), side), max(round(height * scale), side))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(image, size, interpolation=how)
    top, left = (size[1] - side) // 2, (size[0] - side) // 2
    cut = small[top : top + side, left : left + side].astype(np.float32) / 255
    return torch.from_numpy(np.ascontiguousarray((cut - MEAN) / DEVIATION, np.float32)).permute(2, 0, 1)[None]
