"""Fig. 4 of arXiv 2603.23168 with synthetic people: how the inpainting mask is found. Writes docs/images/mask_warp.jpg.

Run: python benchmarks/mask_warp_figure.py  (about a minute)
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from gswap.body.models import load_body
from gswap.foundation.types import FaceTrack, PhotoSet, Shot, TargetSet, Window
from gswap.people.clips import join_tracks, render_motion
from gswap.people.motion import MotionConfig, make_motion
from gswap.people.person import make_person
from gswap.people.scene import make_scene
from gswap.swap.embedded.regions import extend_nearest
from gswap.swap.embedded.swapper import EmbeddedSwapper
from gswap.swap.mask_warp import FIVE_POINTS, Reenactment, inpaint_area, place
from gswap.swap.reenact import EmbeddedReenactor

SIZE = 384
SOURCE, TARGET = 19, 234
"""Somebody with large hair, and somebody with little."""
FRAME, FRAMES, DILATION = 6, 8, 9.0
SHIFT = np.array([[0.82, 0.0, 52.0], [0.0, 0.82, 20.0]])
"""The reenactment is shown off its place, as one that knows nothing of the frame would be."""
OUT = Path(__file__).parents[1] / "docs" / "images" / "mask_warp.jpg"


def faces_of(frames) -> FaceTrack:
    count = len(frames)
    flat = np.stack([np.column_stack([f.landmarks, f.landmarks_3d[:, 2] * f.camera.focal]) for f in frames])
    nothing = np.zeros(count, bool)
    return FaceTrack(
        landmarks=flat,
        valid=~nothing,
        confidence=np.ones(count),
        bridged=nothing,
        duplicate=nothing,
        shoulders=np.zeros((count, 2, 3)),
        embedding=np.zeros((count, 128)),
        sharpness=np.ones(count),
        size=(SIZE, SIZE),
        shots=(Shot(0, count),),
        sizes=((SIZE, SIZE),) * count,
    )


def tinted(image: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    weight = 0.5 * (mask > 0)[..., None]
    return np.round(image * (1 - weight) + np.array(colour) * weight).astype(np.uint8)


def dotted(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    out = image.copy()
    for x, y in points[list(FIVE_POINTS)]:
        centre = (round(float(x)), round(float(y)))
        cv2.circle(out, centre, 5, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(out, centre, 3, (255, 235, 60), -1, cv2.LINE_AA)
    return out


def main() -> None:
    source, other = make_person(SOURCE), make_person(TARGET)
    scene = make_scene(TARGET, "studio", head_fraction=0.5)
    clip = list(render_motion(other, make_motion(TARGET, FRAMES, 25, MotionConfig(yaw=18)), scene, SIZE))
    still = make_motion(SOURCE, 2, 25, MotionConfig(yaw=2))
    photos = list(render_motion(source, still, make_scene(SOURCE, "studio", head_fraction=0.55), SIZE))
    count = len(clip)
    window = Window(np.zeros(count, int), np.zeros(count, int), SIZE, SIZE)
    heads, necks, people = ([getattr(f.masks, n) for f in clip] for n in ("head", "neck", "person"))
    target = TargetSet(window, [f.rgb for f in clip], heads, necks, people, [f.plate for f in clip])
    alpha = tuple(np.maximum(f.masks.head, f.masks.neck) for f in photos)
    colours = tuple(extend_nearest(f.rgb, a > 250) for f, a in zip(photos, alpha, strict=True))
    images = PhotoSet(
        tuple(f.rgb for f in photos), alpha, tuple(f.masks.person for f in photos), alpha, colours, long_hair=False
    )
    tracks = join_tracks(clip), join_tracks(photos)
    swapper = EmbeddedSwapper(target, faces_of(clip), tracks[0], images, faces_of(photos), tracks[1], load_body("anny"))
    whole = EmbeddedReenactor(swapper)(FRAME)
    moved = Reenactment(
        cv2.warpAffine(whole.rgb, SHIFT, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE),
        cv2.warpAffine(whole.head, SHIFT, (SIZE, SIZE)),
        whole.landmarks @ SHIFT[:, :2].T + SHIFT[:, 2],
    )
    seen = clip[FRAME]
    warped = place(moved, seen.landmarks, SIZE, SIZE)
    new_head = warped.head > 127
    area = inpaint_area(new_head, seen.masks.head, seen.masks.neck, seen.masks.person, DILATION)
    both = tinted(tinted(seen.rgb, seen.masks.head > 127, (60, 120, 255)), new_head, (255, 120, 40))
    panels = [
        photos[0].rgb,
        dotted(tinted(moved.rgb, moved.head > 127, (255, 120, 40)), moved.landmarks),
        dotted(seen.rgb, seen.landmarks),
        dotted(both, seen.landmarks),
        np.where(area[..., None], 128, seen.rgb).astype(np.uint8),
    ]
    sheet = np.hstack([np.pad(p, ((0, 0), (0, 6), (0, 0)), constant_values=255) for p in panels])[:, :-6]
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    cv2.imwrite(str(out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
