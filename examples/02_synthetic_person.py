"""A person whose truth is known: the picture, and the mesh, masks and landmarks that belong to it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from gswap.people.motion import Pose
from gswap.people.person import make_person
from gswap.people.render import SyntheticFrame, render
from gswap.people.scene import make_scene


def main(folder: Path, size: int = 384) -> SyntheticFrame:
    """Render one frame and mark the head's mask and the landmarks on it."""
    person = make_person(7)
    pose = Pose(yaw=20, pitch=-5, actions={"jawOpen": 0.4, "mouthSmileLeft": 0.6, "mouthSmileRight": 0.6})
    frame = render(person, pose, make_scene(3), size)
    marked = frame.rgb.astype(float)
    marked[..., 0] += 60 / 255 * frame.masks.head
    x, y = frame.landmarks[:, :2].round().astype(int).T.clip(0, size - 1)
    marked[y, x] = (0, 255, 0)
    folder.mkdir(parents=True, exist_ok=True)
    both = np.concatenate([frame.rgb, marked.clip(0, 255).astype(np.uint8)], axis=1)
    Image.fromarray(both).save(folder / "person.png")
    return frame


if __name__ == "__main__":
    main(Path(sys.argv[1]))
