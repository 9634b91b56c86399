"""SegFormer (Xie et al., arXiv 2105.15203) tuned for face parsing: 19 classes, logits at a quarter of the size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from gswap.foundation.errors import MissingExtraError, WeightsError
from gswap.foundation.types import Masks, RgbImage
from gswap.segmentation.adapters.parsing import parse_head

SIDE = 512
"""Side of the square, pixels."""
MEAN = (0.485, 0.456, 0.406)
STANDARD_DEVIATION = (0.229, 0.224, 0.225)
"""Of ImageNet's RGB in [0, 1]: what the published preprocessor subtracts and divides by."""


class SegformerParser:
    """A :class:`~gswap.foundation.protocols.HeadParser`.

    Args:
        folder: The verified part: ``config.json`` and ``model.safetensors`` of ``transformers``.
        device: ``cpu`` or ``cuda``.

    Raises:
        MissingExtraError: ``transformers`` is not installed.
        WeightsError: The folder holds no such network, or its classes are not those of a face parser.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        try:
            from transformers import SegformerForSemanticSegmentation
            from transformers.utils import logging
        except ImportError as error:
            raise MissingExtraError("The parser segformer", "diffusion") from error
        drawn = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            model: Any = SegformerForSemanticSegmentation.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise WeightsError(f"Expected a SegFormer, found something else ({error}).", path=folder) from error
        finally:
            if drawn:
                logging.enable_progress_bar()
        self._model, self._device = model.to(device).eval(), device
        labels = model.config.id2label
        self.classes = tuple(str(labels[k]) for k in sorted(labels))
        if not {"background", "hair", "neck"} <= set(self.classes):
            raise WeightsError(f"Expected the classes of a face parser, found {', '.join(self.classes)}.", path=folder)

    def __call__(self, image: RgbImage, landmarks: Float[np.ndarray, "478 3"]) -> Masks:
        """Soft masks of the person with these landmarks."""
        return parse_head(image, landmarks, self.logits, self.classes, SIDE)

    def logits(self, picture: Float[np.ndarray, "s s 3"]) -> Float[np.ndarray, "k s s"]:
        """Logits in the picture's size: the network's own, enlarged bilinearly."""
        import torch
        import torch.nn.functional as F

        normal = ((picture - np.array(MEAN)) / np.array(STANDARD_DEVIATION)).astype(np.float32)
        with torch.inference_mode():
            tensor = torch.from_numpy(np.ascontiguousarray(normal.transpose(2, 0, 1)))[None].to(self._device)
            small = self._model(pixel_values=tensor).logits
            large = F.interpolate(small.float(), size=picture.shape[:2], mode="bilinear", align_corners=False)
        return large[0].cpu().numpy()
