"""What is settled per frame before anything is painted: reenactment, M_inp, framing, face drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter1d

from gswap.foundation.errors import InputError
from gswap.foundation.imaging import over
from gswap.foundation.store import PngStore, read_arrays, write_arrays
from gswap.foundation.types import FaceTrack, Progress, RgbImage, Shot, SoftMask, TargetSet, no_progress
from gswap.swap.diffusion.config import DiffusionConfig
from gswap.swap.diffusion.drawings import DrawHint, draw_mediapipe_face
from gswap.swap.diffusion.sample import Canvas, edge_weight
from gswap.swap.framing import Framing, frame_head
from gswap.swap.mask_warp import INSIDE, REFERENCE_SIDE, Landmarks2, Reenactor, inpaint_area, place, vote

MARGIN = 0.03
"""M_inp stays this far from the picture's border, shares of the side."""


@dataclass(frozen=True)
class PlannedFrame:
    """One frame, ready to be painted."""

    canvas: Canvas
    framing: Framing
    """Where the canvas lies in the window."""
    area: Bool[np.ndarray, "h w"]
    """M_inp in the window."""


class InpaintPlan:
    """The frames to paint, with what each needs. Reenactments are stored; the rest follows from them.

    Args:
        target: The clip in its window.
        faces: Its landmarks, full-frame pixels.
        frames: Frames in which the person is tracked, ascending.
        folder: Where reenactments are kept.
        cfg: Masks and pictures.
        draw: Makes the ControlNet's pictures, of the photos too.
    """

    def __init__(
        self,
        target: TargetSet,
        faces: FaceTrack,
        frames: Sequence[int],
        folder: Path,
        cfg: DiffusionConfig,
        draw: DrawHint = draw_mediapipe_face,
    ) -> None:
        self.target = target
        self.draw = draw
        self.frames = tuple(frames)
        self.cfg = cfg
        self._faces = faces
        self._folder = folder / "points"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._heads = PngStore(folder / "head", len(faces))
        self._pictures = PngStore(folder / "rgb", len(faces))

    def reenact(self, reenactor: Reenactor, progress: Progress = no_progress) -> None:
        """Make and store the reenactment of every frame that has none yet, moved onto the target's face."""
        width, height = self.target.window.size
        for done, t in enumerate(self.frames, 1):
            if not self._points_file(t).exists():
                placed = place(reenactor(t), self.face(t), width, height)
                self._pictures.write(t, placed.rgb)
                self._heads.write(t, placed.head)
                write_arrays(self._points_file(t), {"landmarks": placed.landmarks})
            progress(done, len(self.frames), "reenactment")

    def face(self, t: int) -> Landmarks2:
        """The target's own landmarks in its work image."""
        return self.target.window.to_work(t, self._faces.landmarks[t])[:, :2]

    def landmarks(self, t: int) -> Landmarks2:
        """The wanted landmarks: the new head's, in the target's pose and expression."""
        return read_arrays(self._points_file(t))[0]["landmarks"]

    def new_head(self, t: int) -> Bool[np.ndarray, "h w"]:
        """Where the new head is expected: a majority over neighbouring frames of the shot."""
        near = self._near(t, self.cfg.mask.majority // 2)
        return vote([self._heads[k] for k in near], [self.landmarks(k) for k in near], near.index(t))

    def area(self, t: int) -> Bool[np.ndarray, "h w"]:
        """M_inp: what is painted anew, united over the nearest frames of the shot."""
        kept = self._front(t)
        whole = np.logical_or.reduce([self._own_area(k) for k in self._near(t, self.cfg.mask.neighbours)])
        return whole & (~kept | self._own_area(t))

    def frame(self, t: int) -> PlannedFrame:
        """What is painted on for a frame, and where it belongs.

        The square is steady over the shot, and large enough for M_inp.
        """
        size = self.cfg.sample.side
        area = self.area(t)
        framing = self._square(t).grown_to(area.astype(np.uint8) * 255, MARGIN)
        scene: RgbImage = self.target.rgb[t]
        if self.cfg.sample.start == "reenact":
            soft = edge_weight(area, self.pixels(framing, self.cfg.sample.feather))
            mixed = over(self._pictures[t].astype(np.float32), soft, scene.astype(np.float32))
            scene = np.round(mixed).astype(np.uint8)
        canvas = Canvas(
            framing.cut(scene, size),
            framing.cut(area.astype(np.uint8) * 255, size) > INSIDE,
            self.draw(framing.to_picture(self.landmarks(t), size), size),
        )
        return PlannedFrame(canvas, framing, area)

    @staticmethod
    def pixels(framing: Framing, length: float) -> float:
        """A length of the configuration in pixels of the frame."""
        return length * framing.side / REFERENCE_SIDE

    # ------------------------------------------------------------ inside
    def _points_file(self, t: int) -> Path:
        return self._folder / f"{t:06d}.safetensors"

    def _shot(self, t: int) -> Shot:
        whole = Shot(0, len(self._faces))
        return next((s for s in self._faces.shots if s.start <= t < s.stop), whole)

    def _near(self, t: int, reach: int) -> list[int]:
        """Usable frames of the same shot at most ``reach`` away."""
        shot, known = self._shot(t), set(self.frames)
        return [k for k in range(t - reach, t + reach + 1) if k in known and shot.start <= k < shot.stop]

    def _own_area(self, t: int) -> Bool[np.ndarray, "h w"]:
        target = self.target
        dilation = self.pixels(self._square(t), self.cfg.mask.dilation)
        return inpaint_area(self.new_head(t), target.head[t], target.neck[t], target.person[t], dilation)

    def _square(self, t: int) -> Framing:
        """The frame's square before it is grown to hold M_inp."""
        x, y, side = self._steady[self.frames.index(t)]
        return Framing(float(x), float(y), float(side))

    def _front(self, t: int) -> Bool[np.ndarray, "h w"]:
        """Clothes, and what is in front of the head."""
        target = self.target
        own: SoftMask = np.maximum(target.head[t], target.neck[t])
        return (target.person[t] > INSIDE) & (own <= INSIDE)

    def _framed(self, t: int) -> tuple[float, float, float]:
        """Centre and side of a frame's own square.

        Raises:
            InputError: The reenactment shows no head there.
        """
        try:
            framing = frame_head(self._heads[t], self.landmarks(t), self.cfg.mask.crop)
        except InputError as error:
            raise InputError(
                f"Expected the reenacted head in frame {t}, found none.",
                hint="Leave this part of the clip out (--start, --end), or choose another --reenactor.",
                frame=t,
            ) from error
        return framing.x, framing.y, framing.side

    @cached_property
    def _steady(self) -> Float[np.ndarray, "n 3"]:
        """Centre and side of every frame's square, smoothed within shots."""
        raw = np.array([self._framed(t) for t in self.frames])
        starts = np.array([self._shot(t).start for t in self.frames])
        out = raw.copy()
        for start in np.unique(starts):
            rows = starts == start
            out[rows] = gaussian_filter1d(raw[rows], self.cfg.mask.steadiness, axis=0, mode="nearest")
        return out
