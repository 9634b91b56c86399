"""The true answer of a head swap: one person's head, neck and hair on another's body."""

from __future__ import annotations

import numpy as np

from gswap.foundation.types import BodyShape
from gswap.people.anatomy import Figure
from gswap.people.person import Person, dress

BLEND = 1.6
"""How fast the head's person takes over from the torso up, per unit of skinning weight."""


def true_swap(a: Person, b: Person) -> Person:
    """``a``'s head on ``b``'s body.

    Rendered with ``b``'s motion and scene this is what a perfect swap of ``b``'s clip looks like. The torso's vertices
    are ``b``'s; head, neck joints, hair (grown anew, so that it lies on ``b``'s shoulders), skin tone and spectacles
    are ``a``'s; clothes are ``b``'s, cut on the new neck. In between, both shapes and skin tones blend by the neck's
    skinning weights.
    """
    model, body = a.model, a.figure.anatomy
    neck = model.rig.neck_chain[0]
    offset = b.figure.joints[neck] - a.figure.joints[neck]
    t = np.clip((1 - body.torso_weight) * BLEND, 0, 1)
    share = t * t * (3 - 2 * t)
    torso = b.figure.vertices - offset
    vertices = torso + (a.figure.vertices - torso) * share[:, None]
    unmodified = model.rest_points(a.figure.shape.coefficients)[: len(vertices)]
    shape = BodyShape(model.name, a.figure.shape.coefficients, vertices - unmodified)
    figure = Figure(body, shape, vertices, a.figure.joints)
    name = f"the head of {a.name} on {b.name}"
    return dress(name, figure, a.traits, b.clothed_as, 1 - share, b.anchor - offset)
