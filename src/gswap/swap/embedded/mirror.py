"""Mirrored photos: the only pictures there are of a side of the head that no photo shows.

Heads are nearly symmetric. A target turned the other way than every photo is served far better by a mirrored photo
than by one in which half of what is wanted lies hidden behind the nose; the price is a parting or a mole on the wrong
side, so that the choice takes one only where it is much closer.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment

from gswap.foundation.protocols import BodyModel
from gswap.foundation.types import PhotoSet
from gswap.swap.embedded.lift import Lifted, landmark_points

FLIP = np.array([-1.0, 1.0, 1.0])


def mirrored_landmarks(model: BodyModel) -> Int[np.ndarray, "478"]:
    """Number of each landmark's counterpart on the other side, matched on the model's mean face."""
    shape = model.neutral_shape()
    rest = model.rest(shape)
    points = landmark_points(model, rest.vertices - rest.joints[model.head_joint])
    distance = np.linalg.norm((points * FLIP)[:, None] - points[None], axis=-1)
    return linear_sum_assignment(distance**2)[1]


def mirror_people(people: Lifted, partner: Int[np.ndarray, "478"]) -> Lifted:
    """The same faces seen in a mirror (left and right of image and person exchanged)."""
    widths = np.array([camera.width for camera in people.cameras], np.float64)
    image = people.image[:, partner].copy()
    image[..., 0] = widths[:, None] - image[..., 0]
    cameras = tuple(dataclasses.replace(c, cx=c.width - c.cx) for c in people.cameras)
    return Lifted(
        image=image,
        local=people.local[:, partner] * FLIP,
        expression=people.expression[:, partner] * FLIP,
        strength=people.strength,
        rotation=FLIP[:, None] * people.rotation * FLIP,
        translation=people.translation * FLIP,
        cameras=cameras,
        valid=people.valid,
    )


def mirror_photos(photos: PhotoSet) -> PhotoSet:
    """The photos seen in a mirror."""

    def flip(images: tuple) -> tuple:
        return tuple(np.ascontiguousarray(image[:, ::-1]) for image in images)

    fields = ("rgb", "head", "person", "alpha", "foreground")
    return dataclasses.replace(photos, **{name: flip(getattr(photos, name)) for name in fields})


def join_people(a: Lifted, b: Lifted) -> Lifted:
    """Two sets of photos as one."""
    names = ("image", "local", "expression", "strength", "rotation", "translation", "valid")
    return Lifted(
        cameras=a.cameras + b.cameras,
        **{name: np.concatenate([getattr(a, name), getattr(b, name)]) for name in names},
    )
