"""A fitted portrait, turned to both sides. Needs a finished workspace, such as that of ``01_swap.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from gswap.body.models import load_body
from gswap.foundation.store import read_body_track
from gswap.pipeline.workspace import states
from gswap.portrait.io import load_portrait
from gswap.portrait.orbit import orbit_track, render_alone
from gswap.splat import get_rasterizer


def main(work: Path, out: Path, yaws: tuple[float, ...] = (-30, -15, 0, 15, 30)) -> None:
    """Render the head from several sides into one picture."""
    folders = {s.step: work / s.step / s.fingerprint for s in states(work, ("retrack", "fit")) if s.done}
    model = load_body("anny")
    drive = read_body_track(folders["retrack"] / "drive.safetensors")
    portrait = load_portrait(folders["fit"] / "portrait.safetensors", model)
    views = orbit_track(drive, int(np.flatnonzero(drive.valid)[0]), yaws, [0.0] * len(yaws))
    images = list(render_alone(portrait, views, model, rasterize=get_rasterizer(), side=256))
    Image.fromarray(np.concatenate(images, axis=1)).save(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]) / "work", Path(sys.argv[1]) / "views.png")
