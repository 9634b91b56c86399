"""Novel views and expressions of a finished job's head, as a video (Fig. 8)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from gswap.foundation.errors import InputError, OutputError, UsageError
from gswap.foundation.store import read_body_track
from gswap.foundation.types import BodyTrack, RgbImage
from gswap.media.encoders import check_output
from gswap.media.write import encode_rgb, rgb_video_info
from gswap.output import keys
from gswap.output.label import Label
from gswap.output.manifest import Provenance, can_sign, sign_file
from gswap.output.marks import CREATED_SOURCE_TYPE, add_xmp, container_tags
from gswap.output.sidecar import write_sidecar
from gswap.output.watermark import embed_rgb
from gswap.pipeline.observer import StepObserver
from gswap.pipeline.parts import body_model
from gswap.pipeline.steps.deliver import watermark_id
from gswap.pipeline.steps.fit import PORTRAIT
from gswap.pipeline.steps.retrack import DRIVE, load_training_track
from gswap.pipeline.workspace import states
from gswap.portrait.io import load_portrait
from gswap.portrait.model import Portrait, track_digest
from gswap.portrait.orbit import expression_track, orbit_track, render_alone
from gswap.portrait.soundness import Soundness, soundness
from gswap.splat import get_rasterizer

FPS = 25
FRAMES_PER_TURN = 60
PITCH_SHARE = 0.4
"""The camera also goes up and down, by this share of the yaw."""
EXPRESSIONS: tuple[dict[str, float], ...] = (
    {},
    {"jawOpen": 0.6},
    {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8},
    {"mouthPucker": 0.9},
    {"browInnerUp": 0.9, "browOuterUpLeft": 0.8, "browOuterUpRight": 0.8},
    {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
)
HOLD = 8
"""Frames over which one expression turns into the next."""


def write_orbit(
    work: Path, out: Path, *, frame: int | None, yaw: float, size: int, overwrite: bool, observer: StepObserver
) -> Soundness:
    """Render the orbit of the newest portrait in a workspace; returns how whole it is from these sides.

    Args:
        work: Workspace of a finished job.
        out: Video to write.
        frame: Frame of the clip to start from; ``None`` = the one tracked best.
        yaw: Largest turn to either side, degrees.
        size: Width and height, pixels.
        overwrite: Replace ``out``.
        observer: Told of the progress.

    Raises:
        InputError: No workspace, no fitted portrait, or no such frame.
        OutputError: ``out`` exists, or cannot be made.
        UsageError: The yaw is no angle.
    """
    if out.exists() and not overwrite:
        raise OutputError("The output already exists.", hint="Give --overwrite to replace it.", path=out)
    if not math.isfinite(yaw):
        raise UsageError(f"Expected --yaw in degrees, found {yaw}.")
    check_output(rgb_video_info(out, (size, size), (FPS, 1), 0), out)
    done = {name: [work / name / s.fingerprint for s in states(work, (name,)) if s.done] for name in ("retrack", "fit")}
    if not all(done.values()):
        raise InputError("Expected a fitted portrait in the workspace, found none.", hint="Run the swap.", path=work)
    fitted = done["fit"][-1]
    newest = read_body_track(done["retrack"][-1] / DRIVE)
    model = body_model(newest.shape.model)
    portrait = load_portrait(fitted / PORTRAIT, model)
    drive = _its_track(portrait, done["retrack"]) or newest
    t = _start(drive, frame, work)
    angle = np.linspace(0, 2 * np.pi, FRAMES_PER_TURN, endpoint=False)
    views = orbit_track(drive, t, (yaw * np.sin(angle)).tolist(), (-yaw * PITCH_SHARE * np.sin(2 * angle)).tolist())
    faces = expression_track(drive, t, _expressions(), model)
    rasterize = get_rasterizer("auto")
    total = len(views) + len(faces)
    label = Label((size, size))
    identifier = watermark_id(fitted.name)

    def frames() -> Iterator[RgbImage]:
        done = 0
        for track in (views, faces):
            for image in render_alone(portrait, track, model, rasterize=rasterize, side=size):
                done += 1
                observer.progress("orbit", done, total, "")
                red, green, blue = embed_rgb(cv2.split(label.apply(image)), (done - 1) / FPS, identifier)
                yield np.dstack([red, green, blue])

    part = out.with_name(f".{out.stem}.unsigned{out.suffix}")
    try:
        encode_rgb(part, frames(), (FPS, 1), metadata=container_tags(CREATED_SOURCE_TYPE))
        signer = keys.load_or_create()
        provenance = Provenance("orbit", config_hash=fitted.name, consent_hash="", watermark_id=identifier)
        if can_sign(out):
            add_xmp(part, CREATED_SOURCE_TYPE)
            sign_file(part, out, parent=None, components=(), provenance=provenance, signer=signer)
        else:
            part.replace(out)
            write_sidecar(out, provenance=provenance, inputs=(), signer=signer)
    finally:
        part.unlink(missing_ok=True)
    return soundness(portrait, drive, t, model, rasterize=rasterize, yaw=yaw)


def _its_track(portrait: Portrait, folders: list[Path]) -> BodyTrack | None:
    """The driving track beside the one that a portrait was fitted to; ``None`` for a portrait of another clip.

    The newest track of a workspace may be that of a job that was not finished.
    """
    for folder in reversed(folders):
        if track_digest(load_training_track(folder)) == portrait.track_digest:
            return read_body_track(folder / DRIVE)
    return None


def _start(drive: BodyTrack, frame: int | None, work: Path) -> int:
    if frame is None:
        residual = np.where(drive.valid, drive.residual, np.inf)
        return int(residual.argmin())
    if not 0 <= frame < len(drive) or not drive.valid[frame]:
        raise InputError(f"Expected a frame with the person, between 0 and {len(drive) - 1}; found {frame}.", path=work)
    return frame


def _expressions() -> list[dict[str, float]]:
    """From one expression to the next, smoothly."""
    out = []
    cycle = (*EXPRESSIONS, EXPRESSIONS[0])
    for a, b in itertools.pairwise(cycle):
        for k in range(HOLD):
            w = (1 - np.cos(np.pi * k / HOLD)) / 2
            out.append({n: (1 - w) * a.get(n, 0.0) + w * b.get(n, 0.0) for n in {*a, *b}})
    return out
