"""What face parsers share: the aligned square that they were trained on, and masks from their classes.

Parsers trained on CelebAMask-HQ see a square around the face (Karras et al., arXiv 1710.10196, appendix C) and call
everything outside it background, long hair too. So every face is parsed twice: in that square, and in a wider one that
decides where the narrow one ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.imaging import disc, fill_polygon
from gswap.foundation.landmarks import FIVE_POINTS, OVAL, face_height
from gswap.foundation.types import Masks, RgbImage

WIDE = 1.6
"""Side of the wider square, in sides of the aligned one."""
_FADE = 0.08
"""Part of the aligned square's side over which its classes give way to the wider square's."""
_EDGE_RADIUS, _EDGE_EPSILON = 0.015, 6.0**2
"""Guided filter of the soft edge: radius in face heights, variance of 8-bit colours that counts as flat."""
_ISLAND_REACH = 0.06
"""Face heights around the piece with the face that still belong to the head."""

NECK = ("neck", "neck_l")
BODY = ("cloth", "clothes")
HEAD = (
    *("face", "skin", "nose", "hair", "hat", "eyeg", "eye_g", "earr", "ear_r"),
    *("imouth", "mouth", "llip", "ulip", "l_lip", "u_lip"),
    *("rr", "lr", "rb", "lb", "re", "le"),
    *("r_ear", "l_ear", "r_brow", "l_brow", "r_eye", "l_eye"),
)
"""Names of CelebAMask-HQ's classes as FaRL and SegFormer spell them; glasses, hats and earrings move with the head."""

Network = Callable[[Float[np.ndarray, "s s 3"]], Float[np.ndarray, "k s s"]]
"""An RGB square in [0, 1] -> logits of its classes, in the same size."""


@dataclass(frozen=True)
class Square:
    """A turned square of an image: continuous pixels of the image -> those of a picture of ``size`` x ``size``."""

    matrix: Float[np.ndarray, "2 3"]
    size: int

    @classmethod
    def around(cls, landmarks: Float[np.ndarray, "478 3"], size: int, scale: float = 1.0) -> Square:
        """The aligned square of a face, ``scale`` times enlarged about its centre.

        Its middle lies a tenth of the way from the eyes to the mouth; half its side is the larger of twice the
        distance of the eyes and 1.8 times that from eyes to mouth.
        """
        right, left, _, mouth_right, mouth_left = landmarks[list(FIVE_POINTS), :2].astype(np.float64)
        eyes, mouth = (right + left) / 2, (mouth_right + mouth_left) / 2
        across, down = left - right, mouth - eyes
        axis = across + np.array([down[1], -down[0]])
        axis = axis / np.hypot(*axis)
        half = scale * max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down))
        centre = eyes + 0.1 * down
        turn = np.array([[axis[0], axis[1]], [-axis[1], axis[0]]]) * (size / 2 / half)
        return cls(np.column_stack([turn, size / 2 - turn @ centre]), size)

    def cut(self, image: RgbImage) -> Float[np.ndarray, "s s 3"]:
        """The picture in [0, 1]; black beyond the image."""
        matrix, shrink = self.matrix, float(np.hypot(*self.matrix[:, 0]))
        if shrink < 0.5:  # averages first: bilinear samples would miss pixels
            factor = 0.5 ** int(np.floor(np.log2(1 / shrink)))
            width, height = round(image.shape[1] * factor), round(image.shape[0] * factor)
            ratio = np.array([image.shape[1] / width, image.shape[0] / height])
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
            matrix = np.column_stack([matrix[:, :2] * ratio, matrix[:, 2]])
        picture = cv2.warpAffine(image.astype(np.float32), _indices(matrix), (self.size, self.size))
        return picture / np.float32(255)

    def put_back(self, picture: np.ndarray, width: int, height: int, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
        """One channel of the picture, in the image; bilinear."""
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(picture, _indices(self.matrix), (width, height), flags=flags, borderMode=border)


def with_parsed_head(masks: Masks, parsed: Masks) -> Masks:
    """Our masks with head and neck as the parser sees them; the person is the union, for arms and torso.

    Ours are kept where the parser found no head at all.
    """
    if not (parsed.head > 127).any():
        return masks
    person = np.maximum(masks.person, np.maximum(parsed.head, parsed.neck))
    return Masks(parsed.head, parsed.neck, person)


def parse_head(
    image: RgbImage, landmarks: Float[np.ndarray, "478 3"], network: Network, names: Sequence[str], size: int
) -> Masks:
    """Head, neck and person by a face parser.

    Args:
        image: Any size.
        landmarks: Of the face, in pixels of the image.
        network: The parser.
        names: Names of its classes, in order.
        size: Side of the square that it expects.
    """
    height, width = image.shape[:2]
    near, wide = (Square.around(landmarks, size, scale) for scale in (1.0, WIDE))
    inner = np.zeros((size, size), np.uint8)
    inner[1:-1, 1:-1] = 1
    fade = np.clip(cv2.distanceTransform(inner, cv2.DIST_L2, 3) / (_FADE * size), 0, 1)
    share = near.put_back(fade, width, height, cv2.BORDER_CONSTANT)
    covered = wide.put_back(np.ones((size, size), np.float32), width, height, cv2.BORDER_CONSTANT)
    beliefs = [_beliefs(square, image, network, names) for square in (near, wide)]
    merged = {
        key: beliefs[0][key] * share + beliefs[1][key] * (1 - share) * covered for key in ("head", "neck", "body")
    }
    head = merged["head"] * _attached(merged["head"], landmarks)
    unit = float(face_height(landmarks))
    radius = max(round(_EDGE_RADIUS * unit), 1)
    stack = np.dstack([head, merged["neck"], head + merged["neck"] + merged["body"]])
    soft = np.clip(cv2.ximgproc.guidedFilter(image, stack.astype(np.float32), radius, _EDGE_EPSILON), 0, 1)
    soft_head, soft_neck = soft[..., 0], np.minimum(soft[..., 1], 1 - soft[..., 0])
    soft_person = np.maximum(soft[..., 2], soft_head + soft_neck)
    head8, neck8, person8 = (np.round(m * 255).astype(np.uint8) for m in (soft_head, soft_neck, soft_person))
    return Masks(head8, neck8, person8)


def _beliefs(
    square: Square, image: RgbImage, network: Network, names: Sequence[str]
) -> Mapping[str, Float[np.ndarray, "h w"]]:
    """Probabilities of head, neck and the rest of the body in the image. Logits are interpolated, as originally."""
    height, width = image.shape[:2]
    logits = np.ascontiguousarray(network(square.cut(image)), np.float32)
    sums = {key: np.zeros((height, width), np.float32) for key in ("head", "neck", "body", "all")}
    logits -= logits.max(0)
    for name, channel in zip(names, logits, strict=True):
        weight = np.exp(square.put_back(channel, width, height))
        key = "head" if name in HEAD else "neck" if name in NECK else "body" if name in BODY else None
        sums["all"] += weight
        if key is not None:
            sums[key] += weight
    return {key: sums[key] / np.maximum(sums["all"], 1e-12) for key in ("head", "neck", "body")}


def _attached(head: Float[np.ndarray, "h w"], landmarks: Float[np.ndarray, "478 3"]) -> Float[np.ndarray, "h w"]:
    """1 on the piece that holds the face and around it: other people's heads are islands."""
    face = fill_polygon(landmarks[list(OVAL), :2], *head.shape) > 0.5
    _, pieces = cv2.connectedComponents(((head > 0.5) | face).astype(np.uint8))
    votes = np.bincount(pieces[face], minlength=1)
    if not votes.any():
        return np.ones(head.shape, np.float32)
    main = (pieces == int(votes.argmax())).astype(np.float32)
    return cv2.dilate(main, disc(_ISLAND_REACH * float(face_height(landmarks))))


def _indices(matrix: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    """A map of continuous coordinates as OpenCV wants it: of pixel indices."""
    centred = np.array(matrix, np.float64)
    centred[:, 2] += 0.5 * matrix[:, :2].sum(1) - 0.5
    return centred
