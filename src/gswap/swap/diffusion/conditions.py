"""What steers the generator: the face drawing of the ControlNet, and the identity as a prompt.

The drawing is the one that ``CrucibleAI/ControlNetMediaPipeFace`` was trained on: contours of the face mesh and the
pupils, each part in its own colour, two pixels wide. The prompt is Arc2Face's (arXiv 2403.11641): the embedding of one
word is replaced by the face's ArcFace vector, padded with zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.errors import ConfigError
from gswap.foundation.landmarks import BROW_LEFT, BROW_RIGHT, EYE_LEFT, EYE_RIGHT, LIPS_INNER, LIPS_OUTER, OVAL
from gswap.foundation.types import RgbImage

if TYPE_CHECKING:
    from torch import Tensor

PROMPT = "photo of a id person"
"""The only prompt of the face generator. Nobody can give another one."""
IDENTITY_WORD = "id"
EMPTY_PROMPT = ""
"""What guidance leads away from."""

HINT_SIDE = 512
"""Side of the pictures that lines of :data:`LINE` pixels belong to."""
LINE = 2
PUPIL = 2
"""Half the side of a pupil's square, pixels."""
_HALF_BROW = 5
_COLOURED_CHAINS: tuple[tuple[tuple[int, ...], bool, tuple[int, int, int]], ...] = (
    (OVAL, True, (10, 200, 10)),
    (EYE_LEFT, True, (10, 200, 180)),
    (BROW_LEFT[:_HALF_BROW], False, (10, 220, 180)),
    (BROW_LEFT[_HALF_BROW:], False, (10, 220, 180)),
    (EYE_RIGHT, True, (180, 200, 10)),
    (BROW_RIGHT[:_HALF_BROW], False, (180, 220, 10)),
    (BROW_RIGHT[_HALF_BROW:], False, (180, 220, 10)),
    (LIPS_OUTER, True, (10, 180, 10)),
    (LIPS_INNER, True, (10, 180, 10)),
)
"""Landmarks, whether the chain is closed, RGB; in drawing order."""
_PUPIL_COLOURS = {468: (250, 200, 10), 473: (10, 200, 250)}


def draw_hint(landmarks: Float[np.ndarray, "478 2"], size: int) -> RgbImage:
    """The ControlNet's picture of a face: coloured contours on black.

    Args:
        landmarks: In pixels of the picture; lines to points outside it are left out, as in the training data.
        size: Width and height.
    """
    image = np.zeros((size, size, 3), np.uint8)
    inside = ((landmarks >= 0) & (landmarks <= size)).all(1)
    pixels = np.minimum(np.floor(landmarks), size - 1).astype(int)
    for chain, closed, colour in _COLOURED_CHAINS:
        ends = zip(chain, (*chain[1:], chain[0]) if closed else chain[1:], strict=False)
        for a, b in ends:
            if inside[a] and inside[b]:
                cv2.line(image, tuple(pixels[a].tolist()), tuple(pixels[b].tolist()), colour, LINE)
    for index, colour in _PUPIL_COLOURS.items():
        if inside[index]:
            x, y = pixels[index]
            image[max(y - PUPIL, 0) : y + PUPIL, max(x - PUPIL, 0) : x + PUPIL] = colour
    return image


def mean_identity(vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "d"]:
    """Mean direction of some identity vectors, of length 1."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    mean = units.mean(0)
    return mean / np.linalg.norm(mean)


def identity_prompt(text_encoder: Any, tokenizer: Any, identity: Float[np.ndarray, "d"]) -> Float[Tensor, "1 77 c"]:
    """The prompt of a face: Arc2Face's sentence with the identity in place of one word's embedding.

    A hook on the encoder's own embedding layer puts the vector in, so that this works with any version of the library.

    Args:
        text_encoder: A ``CLIPTextModel``.
        tokenizer: Its tokenizer.
        identity: Identity vector; any length, it is normalised.

    Raises:
        ConfigError: The tokenizer splits the word or the vector does not fit the encoder: these are not Arc2Face's.
    """
    import torch

    tokens = _tokens(tokenizer, PROMPT)
    word = tokenizer.encode(IDENTITY_WORD, add_special_tokens=False)
    width = text_encoder.config.hidden_size
    if len(word) != 1 or int((tokens == word[0]).sum()) != 1:
        raise ConfigError(f"Expected a tokenizer that knows the word {IDENTITY_WORD!r}, found another one.")
    if len(identity) > width:
        raise ConfigError(f"Expected identity vectors of at most {width} numbers, found {len(identity)}.")
    padded = np.zeros(width, np.float32)
    padded[: len(identity)] = identity / np.linalg.norm(identity)
    device = text_encoder.device
    vector = torch.from_numpy(padded).to(device, text_encoder.dtype)
    here = (tokens == word[0]).to(device)

    def put_identity(_module: Any, _inputs: Any, embedded: Tensor) -> Tensor:
        return torch.where(here[..., None], vector, embedded)

    handle = text_encoder.get_input_embeddings().register_forward_hook(put_identity)
    try:
        return _encode(text_encoder, tokens)
    finally:
        handle.remove()


def empty_prompt(text_encoder: Any, tokenizer: Any) -> Float[Tensor, "1 77 c"]:
    """The prompt without an identity, for guidance."""
    return _encode(text_encoder, _tokens(tokenizer, EMPTY_PROMPT))


def _tokens(tokenizer: Any, text: str) -> Tensor:
    length = tokenizer.model_max_length
    found = tokenizer(text, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    return found.input_ids


def _encode(text_encoder: Any, tokens: Tensor) -> Tensor:
    import torch

    with torch.no_grad():
        return text_encoder(tokens.to(text_encoder.device))[0].float()
