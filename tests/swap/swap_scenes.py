"""Two people whose pictures are rendered from the body model, so that every landmark, mask and pose is known."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np

from gswap.foundation.geometry import project
from gswap.foundation.raster import interpolate, rasterize_mesh
from gswap.foundation.types import (
    BodyTrack,
    Camera,
    FaceTrack,
    PhotoSet,
    Shot,
    TargetSet,
    Window,
)
from gswap.swap.embedded.lift import landmark_points
from gswap.swap.embedded.regions import extend_nearest

SIZE = 224
FOCAL = 620.0


@dataclass(frozen=True)
class Scene:
    """One person over some images."""

    rgb: list[np.ndarray]
    head: list[np.ndarray]
    neck: list[np.ndarray]
    person: list[np.ndarray]
    plate: list[np.ndarray]
    faces: FaceTrack
    body: BodyTrack

    def target(self) -> TargetSet:
        count = len(self.rgb)
        window = Window(np.zeros(count, int), np.zeros(count, int), SIZE, SIZE)
        return TargetSet(window, self.rgb, self.head, self.neck, self.person, self.plate)

    def photos(self) -> PhotoSet:
        alpha = tuple(np.maximum(h, n) for h, n in zip(self.head, self.neck, strict=True))
        inside = [cv2.erode(a, np.ones((5, 5), np.uint8)) > 0 for a in alpha]
        foreground = tuple(extend_nearest(im, known) for im, known in zip(self.rgb, inside, strict=True))
        return PhotoSet(tuple(self.rgb), alpha, tuple(self.person), alpha, foreground)

    def pick(self, indices: list[int]) -> Scene:
        def take(values: list) -> list:
            return [values[i] for i in indices]

        def rows(track):
            changes = {
                f.name: getattr(track, f.name)[indices]
                for f in dataclasses.fields(track)
                if isinstance(getattr(track, f.name), np.ndarray)
            }
            return dataclasses.replace(track, **changes)

        faces = dataclasses.replace(rows(self.faces), shots=(Shot(0, len(indices)),))
        images = (self.rgb, self.head, self.neck, self.person, self.plate)
        return Scene(*(take(v) for v in images), faces, rows(self.body))


def body_track(model, yaw, jaw, blink, shape=None) -> BodyTrack:
    """A head turning by ``yaw`` radians, opening its mouth and shutting its eyes."""
    count = len(yaw)
    actions = np.zeros((count, len(model.action_names)))
    actions[:, model.action_names.index("jawOpen")] = jaw
    for side in ("Left", "Right"):
        actions[:, model.action_names.index(f"eyeBlink{side}")] = blink
    rotation = np.zeros((count, 3))
    rotation[:, 1] = yaw
    return BodyTrack(
        shape=shape or model.neutral_shape(),
        focal=np.full(count, FOCAL),
        rotation=rotation,
        translation=np.tile([0.0, 0.09, 1.15], (count, 1)),
        neck=np.zeros((count, 3)),
        eyes=np.zeros((count, 2, 3)),
        actions=actions,
        valid=np.ones(count, bool),
        confidence=np.ones(count),
        residual=np.zeros(count),
        sizes=np.tile([SIZE, SIZE], (count, 1)),
    )


def render(model, body: BodyTrack, skin=(190, 140, 115), backdrop=(90, 110, 120)) -> Scene:
    """Smoothly coloured pictures of a body track, with exact landmarks and masks."""
    camera = Camera(FOCAL, SIZE / 2, SIZE / 2, SIZE, SIZE)
    rest = model.rest(body.shape)
    centred = rest.vertices - rest.joints[model.head_joint]
    waves = np.sin(centred @ np.array([[55.0, 20, 0], [10, 60, 15], [30, 0, 45]]))
    colour = np.asarray(skin) * (1 + 0.12 * waves[:, :1] + 0.02 * waves)
    colour[model.part >= 2] = (225, 225, 220)
    colour[model.part == 1] = (150, 70, 75)
    cloth = (model.torso_weight > 0.5)[:, None]
    colour = np.where(cloth, [50.0, 60, 95], colour)
    x, y = np.meshgrid(np.linspace(-1, 1, SIZE), np.linspace(-1, 1, SIZE))
    behind = np.asarray(backdrop)[None, None] * (1 + 0.1 * np.sin(3 * x + 2 * y))[..., None]
    lists: list[list[np.ndarray]] = [[], [], [], [], []]
    landmarks = []
    for t in range(len(body)):
        mesh = model.pose(body, rest, t)
        fragments = rasterize_mesh(mesh.vertices, model.faces, camera)
        seen = fragments.face >= 0
        image = behind.copy()
        image[seen] = interpolate(fragments, model.faces, colour)
        shares = np.zeros((SIZE, SIZE, 3))
        weights = np.stack([model.head_weight, model.neck_weight, model.torso_weight], -1)
        shares[seen] = interpolate(fragments, model.faces, weights)
        part = np.where(seen, shares.argmax(-1), -1)
        plate = np.where(((part == 0) | (part == 1))[..., None], behind, image)
        masks = [np.where(m, 255, 0).astype(np.uint8) for m in (part == 0, part == 1, seen)]
        soft = cv2.GaussianBlur(image, (0, 0), 0.7)
        for store, value in zip(
            lists, [soft.round().astype(np.uint8), *masks, plate.round().astype(np.uint8)], strict=True
        ):
            store.append(value)
        points = landmark_points(model, mesh.vertices)
        landmarks.append(np.column_stack([project(points, camera), (points[:, 2] - points[:, 2].mean()) * FOCAL]))
    count = len(body)
    faces = FaceTrack(
        landmarks=np.stack(landmarks),
        valid=np.ones(count, bool),
        confidence=np.ones(count),
        bridged=np.zeros(count, bool),
        duplicate=np.zeros(count, bool),
        shoulders=np.zeros((count, 2, 3)),
        embedding=np.zeros((count, 128)),
        sharpness=np.ones(count),
        size=(SIZE, SIZE),
        shots=(Shot(0, count),),
        sizes=((SIZE, SIZE),) * count,
    )
    return Scene(*lists, faces, body)
