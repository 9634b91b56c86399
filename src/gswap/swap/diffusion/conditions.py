"""What tells the generator whom to paint: the identity as a prompt, and the words of the prompts that there are.

The prompt is Arc2Face's (arXiv 2403.11641): the embedding of one word is replaced by the face's ArcFace vector, padded
with zeros. Nobody can give a prompt of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from gswap.foundation.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

PROMPT = "photo of a id person"
"""The only prompt of the face generator."""
IDENTITY_WORD = "id"
EMPTY_PROMPT = ""
"""What guidance leads away from."""


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


def text_prompt(text_encoder: Any, tokenizer: Any, text: str) -> Float[Tensor, "1 77 c"]:
    """A prompt of nothing but words."""
    return _encode(text_encoder, _tokens(tokenizer, text))


def _tokens(tokenizer: Any, text: str) -> Tensor:
    length = tokenizer.model_max_length
    found = tokenizer(text, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    return found.input_ids


def _encode(text_encoder: Any, tokens: Tensor) -> Tensor:
    import torch

    with torch.no_grad():
        return text_encoder(tokens.to(text_encoder.device))[0].float()
