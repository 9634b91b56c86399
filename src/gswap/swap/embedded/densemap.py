"""Output pixel -> photo pixel: exact on the face mesh, rigid head with a hair shell outside, smooth in between."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from gswap.foundation.imaging import blur, blur_wide, disc
from gswap.foundation.landmarks import CHIN, FOREHEAD_TOP, LIP_RINGS_LOWER, LIP_RINGS_UPPER, face_triangles
from gswap.foundation.raster import Fragments, rasterize
from gswap.foundation.types import Camera
from gswap.swap.config import MapConfig
from gswap.swap.embedded.lift import Lifted, to_image
from gswap.swap.embedded.outline import Head, Reach
from gswap.swap.embedded.photos import ReadyPhoto
from gswap.swap.embedded.regions import Points2, bounds_of, nearest_known
from gswap.swap.embedded.retarget import EYES, Similarity

HALF = 2
"""Smooth fields are computed at this fraction of the output's resolution."""
SEAM = 5
"""Width of the seam between face mesh and rigid head over which the map is smoothed, pixels."""
RIM = 0.35
"""How far inside the skull's outline a vertex still learns from the hair's, as a share of the outline's radius."""
STEEPEST_LEAN, BEND = 0.6, 0.15
"""Long hair that goes on below a photo's border: up to which lean of the head (tangent) it hangs straight down, and on
which length it turns there, face widths."""
LIFTED_ABOVE = 0.35
"""Height over the chin from which vertices are lifted fully, face heights."""


class Beyond(NamedTuple):
    """How the face mesh goes on outside itself, half resolution."""

    inside: Bool[np.ndarray, "h2 w2"]
    cover: Float[np.ndarray, "h2 w2"]
    """Share of the pixel that the face mesh covers."""
    distance: Float[np.ndarray, "h2 w2"]
    nearest: Int[np.ndarray, "h2 w2"]
    """Index of the nearest pixel that it covers."""


@dataclass(frozen=True)
class Geometry:
    """What every output pixel of a head crop shows."""

    points: Points2
    """Posed landmarks of the source's face in the crop."""
    face: Fragments
    """Face mesh (landmark triangles), full resolution."""
    head: Float[np.ndarray, "h2 w2 3"]
    """Point of the head in the target's head frame, half resolution, metres."""
    face_width: float
    cosine: Float[np.ndarray, "h2 w2"]
    """How squarely the head's surface faces the camera, half resolution."""
    down: Float[np.ndarray, "3"]
    """The picture's downward direction in the target's head frame."""

    def crop(self, box: tuple[int, int, int, int]) -> Geometry:
        """The part inside ``(x0, y0, x1, y1)``, all even."""
        x0, y0, x1, y1 = box
        full, half = np.s_[y0:y1, x0:x1], np.s_[y0 // HALF : y1 // HALF, x0 // HALF : x1 // HALF]
        face = Fragments(self.face.face[full], self.face.bary[full], self.face.depth[full])
        return Geometry(self.points - [x0, y0], face, self.head[half], self.face_width, self.cosine[half], self.down)

    @cached_property
    def seen(self) -> Bool[np.ndarray, "h w"]:
        """Where the face mesh is."""
        return self.face.face >= 0

    @cached_property
    def corners(self) -> tuple[Int[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
        """Landmarks that a pixel of the face mesh lies between, and their shares, in row-major order."""
        here = np.flatnonzero(self.seen)
        return face_triangles()[self.face.face.ravel()[here]], self.face.bary.reshape(-1, 3)[here]

    @cached_property
    def area(self) -> tuple[slice, slice]:
        """Box around the face mesh, all even, with room for its seam."""
        x0, y0, x1, y1 = bounds_of(self.seen, 2 * SEAM) or (0, 0, 0, 0)
        return np.s_[y0 // HALF * HALF : -(-y1 // HALF) * HALF, x0 // HALF * HALF : -(-x1 // HALF) * HALF]

    @cached_property
    def seam(self) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
        """Pixels of :attr:`area` along the face mesh's outline."""
        mask, kernel = self.seen[self.area].astype(np.uint8), disc(SEAM)
        ys, xs = np.nonzero(cv2.dilate(mask, kernel) != cv2.erode(mask, kernel))
        return ys, xs

    @cached_property
    def beyond(self) -> Beyond:
        """Where the face mesh is, and what is nearest elsewhere; it is somewhere."""
        h, w = self.seen.shape
        cover = cv2.resize(self.seen.astype(np.float32), (w // HALF, h // HALF), interpolation=cv2.INTER_AREA)
        inside = cover > 0
        return Beyond(inside, cover, *nearest_known((~inside).astype(np.uint8)))


def shrink(camera: Camera, factor: int) -> Camera:
    """Camera of the image reduced by ``factor`` (which divides its size)."""
    return Camera(
        camera.focal / factor, camera.cx / factor, camera.cy / factor, camera.width // factor, camera.height // factor
    )


def hair_shell(skull: Head, people: Lifted, photos: list[ReadyPhoto], cfg: MapConfig) -> Head:
    """Lift the skull to the outline of the hair that the photos show.

    In every photo the matte's outline is compared with the skull's, direction by direction around the head's centre;
    a vertex takes the ratio of its direction, the more so the more it lies on the outline. The face keeps its place.
    """
    radial = skull.vertices - skull.centre
    total = np.full(len(radial), 1e-3)
    lifted = np.full(len(radial), 1e-3)  # ratio 1 where no photo says anything
    for i, photo in enumerate(photos):
        if not people.valid[i]:
            continue
        reach = Reach.of(skull, people, i, photo)
        ratio = np.clip(reach.ratio, 1.0, cfg.shell_limit)
        rim = np.exp(-(((1 - reach.distance / np.maximum(reach.skull[reach.direction], 1)) / RIM) ** 2))
        total += rim
        lifted += rim * ratio[reach.direction]
    face = np.nanmean(people.local[people.valid][:, :468], axis=0)
    low, high = (edge * float(np.ptp(face[:, 0])) for edge in cfg.shell_onset)
    distance = KDTree(face).query(skull.vertices)[0]
    chin, top = face[CHIN, 1], face[FOREHEAD_TOP, 1]
    above = np.clip((chin - skull.vertices[:, 1]) / (LIFTED_ABOVE * (chin - top)), 0, 1)  # 0 below the jaw
    weight = np.clip((distance - low) / (high - low), 0, 1) * above
    scale = 1 + (lifted / total - 1) * weight
    return Head(skull.centre + radial * scale[:, None], skull.faces, skull.centre)


def build_geometry(
    posed: Float[np.ndarray, "478 3"],
    shell: Head,
    pose: tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]],
    camera: Camera,
    cfg: MapConfig,
) -> Geometry:
    """Rasterise face and head for one crop.

    Args:
        posed: Retargeted landmarks, target head frame.
        shell: The source's head with hair, target head frame.
        pose: Rotation and translation of the target's head.
        camera: Of the crop; its size is a multiple of :data:`HALF`.
        cfg: Constants.
    """
    rotation, translation = pose
    points, depths = to_image(posed, rotation, translation, camera)
    face = rasterize(points[:468], depths[:468], face_triangles(), camera.height, camera.width)
    width = float(np.ptp(points[:468, 0]))
    small = shrink(camera, HALF)
    depth, cosine = _head_depth(shell, rotation, translation, small, width / HALF, cfg)
    x = (np.arange(small.width, dtype=np.float32)[None] + np.float32(0.5 - small.cx)) / np.float32(small.focal)
    y = (np.arange(small.height, dtype=np.float32)[:, None] + np.float32(0.5 - small.cy)) / np.float32(small.focal)
    head = cv2.transform(cv2.merge([x * depth, y * depth, depth]), _affine(rotation.T, -rotation.T @ translation))
    return Geometry(points, face, head, width, cosine, rotation[1])


def _affine(matrix: Float[np.ndarray, "3 3"], shift: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 4"]:
    return np.column_stack([matrix, shift]).astype(np.float32)


def _head_depth(shell, rotation, translation, camera, width, cfg):
    """Depth of the shell, extended beyond its outline to the plane of its centre, and the cosine to the camera."""
    pixels, depths = to_image(shell.vertices, rotation, translation, camera)
    fragments = rasterize(pixels, depths, shell.faces, camera.height, camera.width)
    middle = float((rotation @ shell.centre + translation)[2])
    seen = fragments.face >= 0
    if not seen.any():
        flat = np.full(seen.shape, middle, np.float32)
        return flat, np.zeros_like(flat)
    empty = (~seen).astype(np.uint8)
    distance, nearest = nearest_known(empty)
    extended = blur_wide(fragments.depth.ravel()[nearest], 0.06 * width)
    reach = np.exp(-distance / (cfg.depth_reach * width))
    depth = np.where(seen, fragments.depth, extended * reach + middle * (1 - reach))
    depth = blur(depth.astype(np.float32), 0.03 * width)
    metre = np.float32(camera.focal / middle)
    dx, dy = cv2.Sobel(depth, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(depth, cv2.CV_32F, 0, 1, scale=0.125)
    return depth, 1 / np.sqrt(1 + (metre * dx) ** 2 + (metre * dy) ** 2)


def photo_points(photo: ReadyPhoto, gap_excess: float, closed: Float[np.ndarray, "2"], cfg: MapConfig) -> Points2:
    """The photo's landmarks as the map aims at them.

    Where the target's mouth is wider open than the photo's, or less, the inner lips are taken from further out (no
    teeth and no dark line on the lips); where its eye is shut, the lids are taken from beyond lashes and waterline.

    Args:
        photo: The photo.
        gap_excess: Target's mouth gap minus the photo's, eye distances.
        closed: How shut the right and left eye are.
        cfg: Constants.
    """
    points = photo.points.copy()
    corner = cfg.lip_withdrawal_corner if gap_excess > 0 else 0.0  # an open mouth has no line there
    towards_corner = 1 + (corner - 1) * np.abs(np.linspace(-1, 1, 11))[:, None]
    withdraw = cfg.lip_withdrawal * float(np.clip(max(gap_excess / 0.10, -gap_excess / 0.03), 0, 1))
    if withdraw > 0:
        for rings in (LIP_RINGS_UPPER, LIP_RINGS_LOWER):
            outer = photo.points[list(rings[0])]
            for ring, share in ((rings[3], 1.0), (rings[2], 0.6), (rings[1], 0.3)):
                points[list(ring)] += share * withdraw * towards_corner * (outer - photo.points[list(ring)])
    for shut, (_, contour, _) in zip(closed, EYES, strict=True):
        ring = list(contour)
        line = (photo.points[ring[0]] + photo.points[ring[8]]) / 2
        points[ring, 1] += cfg.lid_withdrawal * shut * (photo.points[ring] - line)[:, 1]
    return points


class CoarseMap(NamedTuple):
    """A map at half resolution, and what it says inside the face in full."""

    field: Float[np.ndarray, "h2 w2 2"]
    exact: Float[np.ndarray, "n 2"]
    """Of the pixels of the face mesh, row-major."""

    def crop(self, box: tuple[int, int, int, int]) -> CoarseMap:
        """The part inside a box, all even, that holds the face mesh."""
        x0, y0, x1, y1 = (side // HALF for side in box)
        return CoarseMap(self.field[y0:y1, x0:x1], self.exact)


def coarse_map(
    geometry: Geometry,
    photo: ReadyPhoto,
    aim: Points2,
    pose: tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]],
    to_target: Similarity,
    cfg: MapConfig,
) -> CoarseMap:
    """Continuous photo coordinates of every other output pixel; :func:`detailed` has those of all.

    Args:
        geometry: Of the output crop.
        photo: The photo.
        aim: Its landmarks, see :func:`photo_points`.
        pose: Rotation and translation of the head in the photo.
        to_target: Source head frame -> target head frame.
        cfg: Constants.
    """
    rotation, translation = pose
    turn = rotation @ to_target.rotation.T / to_target.scale
    shift = translation - turn @ to_target.offset
    x, y, z = cv2.split(cv2.transform(geometry.head, _affine(turn, shift)))
    focal, *middle = (np.float32(number) for number in (photo.camera.focal, photo.camera.cx, photo.camera.cy))
    rigid = cv2.merge([focal * along / z + centre for along, centre in zip((x, y), middle, strict=True)])
    if photo.fall is not None:
        _hang(rigid, photo.fall.border, turn @ geometry.down, photo.face_width)
    exact = _exact(geometry, aim)
    if not len(exact):
        return CoarseMap(rigid, exact)
    rows, columns = geometry.area
    small = np.s_[rows.start // HALF : rows.stop // HALF, columns.start // HALF : columns.stop // HALF]
    inside, cover, distance, nearest = geometry.beyond
    seen = geometry.seen[geometry.area]
    size = (seen.shape[1] // HALF, seen.shape[0] // HALF)
    residual = np.zeros((*seen.shape, 2), np.float32)
    residual[seen] = exact - cv2.resize(rigid[small], seen.shape[::-1], interpolation=cv2.INTER_LINEAR)[seen]
    known = np.zeros_like(rigid)
    known[small] = cv2.resize(residual, size, interpolation=cv2.INTER_AREA)
    inner = known[inside] = known[inside] / cover[inside][:, None]
    spread = known.reshape(-1, 2)[nearest]
    for sigma in cfg.residual_blurs:
        spread = blur_wide(spread, sigma * geometry.face_width / HALF)
        spread[inside] = inner
    fade = np.exp(-((distance * np.float32(HALF / (cfg.falloff * geometry.face_width))) ** 2))
    return CoarseMap(rigid + spread * cv2.merge([fade, fade]), exact)


def _hang(field: Float[np.ndarray, "h2 w2 2"], border: float, down: Float[np.ndarray, "3"], face_width: float) -> None:
    """Let what goes on below a photo's border hang down in the output however the head is tilted, in place.

    Args:
        field: Photo coordinates.
        border: Row of the photo below which hair goes on.
        down: The output's downward direction in the photo's camera.
        face_width: In the photo, pixels.
    """
    lean = float(np.clip(down[0] / max(down[1], 1e-3), -STEEPEST_LEAN, STEEPEST_LEAN))
    below = np.maximum(field[..., 1] - np.float32(border), 0)
    field[..., 0] -= np.float32(lean) * below**2 / (below + np.float32(BEND * face_width))


def detailed(geometry: Geometry, coarse: CoarseMap) -> Float[np.ndarray, "h w 2"]:
    """A coarse map at full resolution, exact on the face mesh, smooth across its outline.

    Args:
        geometry: Of the output crop, or of a part of it.
        coarse: See :func:`coarse_map`, of the same pixels.
    """
    h, w = geometry.seen.shape
    mapping = cv2.resize(coarse.field, (w, h), interpolation=cv2.INTER_LINEAR)
    if not len(coarse.exact):
        return mapping
    face = mapping[geometry.area]
    face[geometry.seen[geometry.area]] = coarse.exact
    # grazing triangles at the outline are noisy
    face[geometry.seam] = blur(cv2.medianBlur(face, 5), 0.4 * SEAM)[geometry.seam]
    return mapping


def _exact(geometry: Geometry, aim: Points2) -> Float[np.ndarray, "n 2"]:
    """Photo coordinates of the pixels of the face mesh, row-major."""
    triangles, shares = geometry.corners
    return np.einsum("pkc,pk->pc", aim.astype(np.float32)[triangles], shares)
