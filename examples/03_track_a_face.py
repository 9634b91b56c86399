"""Landmarks -> the body model, and how far the fit is from the truth."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from gswap.body.config import FitConfig
from gswap.body.fit import fit_track
from gswap.body.models import load_body
from gswap.foundation.landmarks import head_angles
from gswap.people.motion import Pose
from gswap.people.person import make_person
from gswap.people.render import render
from gswap.people.scene import make_scene
from gswap.perception.config import PerceptionConfig
from gswap.perception.photos import perceive_photos


def main(folder: Path, yaws: tuple[float, ...] = (-20, -10, 0, 10, 20)) -> float:
    """Fit five pictures of one person; returns the landmark residual as a share of the eye distance."""
    person, scene = make_person(7), make_scene(3)
    frames = [render(person, Pose(yaw=yaw), scene, 384) for yaw in yaws]
    faces = perceive_photos([f.rgb for f in frames], [f"yaw {yaw:+.0f}" for yaw in yaws], PerceptionConfig())
    track = fit_track(faces, load_body("anny"), FitConfig(), photos=True)
    lines = [
        f"asked for yaw {yaw:+.0f}, landmarks say {angle:+.1f}, residual {100 * residual:.2f} % of the eye distance"
        for yaw, angle, residual in zip(yaws, head_angles(faces.landmarks)[:, 0], track.residual, strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "track.txt").write_text("\n".join(lines) + "\n")
    print(*lines, sep="\n")
    return float(np.mean(track.residual))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
