"""The true answer of a head swap: one person's head, neck and hair on another's body."""

from __future__ import annotations

import numpy as np

from gswap.foundation.geometry import similarity
from gswap.foundation.landmarks import RIGID
from gswap.foundation.types import BodyShape
from gswap.people.anatomy import Figure
from gswap.people.person import Person, dress

BLEND = 1.6
"""How fast the head's person takes over from the torso up, per unit of skinning weight."""


def true_swap(a: Person, b: Person) -> Person:
    """``a``'s head on ``b``'s body.

    Rendered with ``b``'s motion and scene this is what a perfect swap of ``b``'s clip looks like: the new face sits
    where the old one was and is as large (the similarity of the rigid landmarks of both faces at rest), since a clip
    tells nothing of how tall the other person is. The torso's vertices and all joints are ``b``'s; head, neck, hair
    (grown anew, so that it lies on ``b``'s shoulders), skin tone and spectacles are ``a``'s; clothes are ``b``'s, cut
    on the new neck. In between, both shapes and skin tones blend by the neck's skinning weights.
    """
    model, body = a.model, a.figure.anatomy
    rigid = list(RIGID)
    scale, turn, shift = similarity(a.figure.landmarks[rigid], b.figure.landmarks[rigid])
    head = scale * a.figure.vertices @ turn.T + shift
    t = np.clip((1 - body.torso_weight) * BLEND, 0, 1)
    share = t * t * (3 - 2 * t)
    vertices = b.figure.vertices + (head - b.figure.vertices) * share[:, None]
    coefficients = b.figure.shape.coefficients
    unmodified = model.rest_points(coefficients)[: len(vertices)]
    shape = BodyShape(model.name, coefficients, vertices - unmodified)
    figure = Figure(body, shape, vertices, b.figure.joints)
    return dress(f"the head of {a.name} on {b.name}", figure, a.traits, b.clothed_as, 1 - share, b.anchor)
