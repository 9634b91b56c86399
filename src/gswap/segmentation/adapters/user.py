"""Masks that the user hands in (``--masks DIR``) replace ours."""

from __future__ import annotations

import numpy as np

from gswap.foundation.errors import InputError
from gswap.foundation.types import Masks, SoftMask


def with_user_head(masks: Masks, head: SoftMask) -> Masks:
    """Our masks with the user's head in the place of ours.

    The neck loses what the user calls head. Pixels that we call head and the user does not (a hand or a microphone in
    front of the face) belong to nobody's head: they are kept as the rest of the person, so that they stay in front.

    Args:
        masks: Ours.
        head: The user's mask of hair, face and ears, 255 inside, in the work image.

    Raises:
        InputError: The sizes differ.
    """
    if head.shape != masks.head.shape:
        raise InputError(
            f"Expected a mask of {masks.head.shape[1]}x{masks.head.shape[0]} pixels, "
            f"found {head.shape[1]}x{head.shape[0]}.",
            hint="Give masks of the clip's own size.",
        )
    neck = np.minimum(masks.neck, 255 - head)
    return Masks(head, neck, np.maximum(masks.person, np.maximum(head, neck)))
