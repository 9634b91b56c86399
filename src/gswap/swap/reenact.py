"""Our mesh-guided swapper as the coarse reenactment: the default, since it needs no weights."""

from __future__ import annotations

import numpy as np

from gswap.foundation.geometry import project
from gswap.swap.embedded.swapper import EmbeddedSwapper
from gswap.swap.mask_warp import Reenactment


class EmbeddedReenactor:
    """The embedded swapper's head, with the landmarks it was put at (a ``Reenactor``).

    The landmarks are the source's own face in the target's expression and pose.
    """

    def __init__(self, swapper: EmbeddedSwapper) -> None:
        self._swapper = swapper

    def __call__(self, t: int, /) -> Reenactment:
        """Reenactment of frame ``t``, in the target's window."""
        frame, plan = self._swapper.frame(t), self._swapper.plan
        posed = plan.posed.local[t] @ plan.frames.rotation[t].T + plan.frames.translation[t]
        return Reenactment(frame.rgb, frame.head, np.asarray(project(posed, plan.frames.cameras[t])))
