"""A person in a pose and a scene -> a picture, and everything that is true about it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from gswap.body.posing import HeadPose, torso_to_camera
from gswap.foundation.errors import UsageError
from gswap.foundation.geometry import matrix_to_rotvec, project
from gswap.foundation.raster import Fragments, rasterize_mesh
from gswap.foundation.types import BodyTrack, Camera, PosedMesh, RgbImage, SoftMask
from gswap.people import materials
from gswap.people.anatomy import vertex_normals
from gswap.people.attach import follow
from gswap.people.lighting import BIAS, KeyLight, cast_shadows, draw_strands, light_hair, light_surface, light_tubes
from gswap.people.materials import Points, Surface, kernels
from gswap.people.motion import Pose, angles_to_matrix, angles_to_rotvec
from gswap.people.person import Label, Material, Person, StrandKind
from gswap.people.scene import GAMMA, Scene, clean_plate
from gswap.people.seeds import stream

PIVOT_BELOW_HEAD = 0.45
"""Metres below the head's centre about which the torso turns."""
SHADOW_TEXELS = 400, 640
"""Side of the shadow map for pictures up to and above 320 pixels high."""


@dataclass(frozen=True)
class TrueMasks:
    """Soft masks with the anti-aliasing of the picture. Head, neck, torso and clothes add up to the person."""

    person: SoftMask
    head: SoftMask
    """Face, ears, hair, hat, spectacles."""
    hair: SoftMask
    neck: SoftMask
    torso: SoftMask
    """Bare skin below the neck."""
    clothes: SoftMask
    skin: SoftMask
    """Face, neck and torso without hair."""


@dataclass(frozen=True)
class SyntheticFrame:
    """One picture and its truth. Frames and conventions as in ``foundation.types``."""

    rgb: RgbImage
    plate: RgbImage
    """The scene without the person; equals ``rgb`` outside ``masks.person``, noise included."""
    camera: Camera
    masks: TrueMasks
    track: BodyTrack
    """The true parameters as a track of one image; ``rotation``, ``translation``, ``neck``, ``eyes``, ``actions``."""
    mesh: PosedMesh
    """The body's vertices in the camera."""
    landmarks: Float[np.ndarray, "478 2"]
    """True landmarks, pixels."""
    landmarks_3d: Float[np.ndarray, "478 3"]
    """The same in the camera frame, metres."""


def true_track(person: Person, pose: Pose, scene: Scene, width: int, height: int) -> BodyTrack:
    """The pose as the body model's parameters in the scene's camera: a track of one image.

    Raises:
        UsageError: The pose has a facial action that the body does not know.
    """
    figure, model = person.figure, person.model
    torso = angles_to_matrix(pose.torso_yaw, 0, pose.torso_roll)
    neck = angles_to_rotvec(pose.yaw, pose.pitch, pose.roll)
    eyes = np.tile(angles_to_rotvec(*pose.gaze, 0), (2, 1))
    head = HeadPose(np.zeros(3), np.zeros(3), neck, eyes)
    hanging, _ = torso_to_camera(figure.joints, model.rig, head)
    rotation = torso @ hanging[:, :3].T  # the head's, when the torso's is `torso`
    hanging, _ = torso_to_camera(
        figure.joints, model.rig, HeadPose(matrix_to_rotvec(rotation), np.zeros(3), neck, eyes)
    )
    pivot = person.anchor + np.array([0, PIVOT_BELOW_HEAD, 0])
    wanted = scene.stand() + (pivot - person.anchor) + np.array(pose.shift) - torso @ pivot
    unknown = sorted(set(pose.actions) - set(model.action_names))
    if unknown:
        raise UsageError(f"The body has no facial action {unknown[0]!r}.")
    actions = np.array([pose.actions.get(name, 0.0) for name in model.action_names])
    return BodyTrack(
        shape=figure.shape,
        focal=np.array([scene.camera(width, height).focal]),
        rotation=matrix_to_rotvec(rotation)[None],
        translation=(wanted - hanging[:, 3])[None],
        neck=neck[None],
        eyes=eyes[None],
        actions=actions[None],
        valid=np.ones(1, bool),
        confidence=np.ones(1),
        residual=np.zeros(1),
        sizes=np.array([[width, height]]),
    )


def render(
    person: Person, pose: Pose, scene: Scene, size: int | tuple[int, int], supersample: int = 2, frame: int = 0
) -> SyntheticFrame:
    """Render one picture.

    Args:
        person: who.
        pose: how.
        scene: where.
        size: side of a square picture, or (width, height), pixels.
        supersample: samples per pixel and axis.
        frame: seeds the sensor noise together with the scene.
    """
    width, height = (size, size) if isinstance(size, int) else size
    camera = scene.camera(width, height)
    fine = Camera(camera.focal * supersample, camera.cx * supersample, camera.cy * supersample,
                  width * supersample, height * supersample)  # fmt: skip
    track = true_track(person, pose, scene, width, height)
    body = person.model.pose(track, person.rest, 0)
    rest = person.figure.vertices
    worn = person.mesh.attributes[len(rest) :, :3].astype(np.float64)
    vertices = np.concatenate([body.vertices, follow(worn, person.mesh.binding, rest, body)])
    places = follow(person.strands.points, person.strands.binding, rest, body)
    key = cast_shadows(scene, vertices, person.mesh.faces, person.strands, places, SHADOW_TEXELS[height > 320])
    color, label = _draw(person, vertices, places, scene, fine, key)

    def shrink(image: np.ndarray) -> np.ndarray:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

    def mask(*labels: Label) -> np.ndarray:
        table = np.zeros(256, np.float32)
        table[list(labels)] = 1
        return shrink(cv2.LUT(label, table))

    covered = mask(*list(Label)[1:])
    empty = clean_plate(scene, width, height)
    grain = stream(scene.seed, f"noise {frame}").normal(0, scene.noise, (height, width, 3)).astype(np.float32)
    exposed = shrink(color) * scene.exposure + empty * (1 - covered[..., None])
    marks = person.figure.anatomy.landmarks(body.vertices)
    soft = {
        "person": covered,
        "head": mask(Label.FACE, Label.HAIR, Label.GLASSES, Label.HAT),
        "hair": mask(Label.HAIR),
        "neck": mask(Label.NECK),
        "torso": mask(Label.TORSO),
        "clothes": mask(Label.CLOTHES),
        "skin": mask(Label.FACE, Label.NECK, Label.TORSO),
    }
    return SyntheticFrame(
        rgb=_develop(exposed, grain),
        plate=_develop(empty, grain),
        camera=camera,
        masks=TrueMasks(**{k: (m * 255 + 0.5).astype(np.uint8) for k, m in soft.items()}),
        track=track,
        mesh=body,
        landmarks=project(marks, camera),
        landmarks_3d=marks,
    )


def _develop(linear: np.ndarray, grain: np.ndarray) -> RgbImage:
    """Highlights rolled off, gamma, sensor noise, 8 bits."""
    rolled = linear / (1 + np.maximum(linear - 0.75, 0) * 0.6)
    levels = cv2.pow(np.clip(rolled, 0, 1).astype(np.float32), 1 / GAMMA) * 255
    return np.clip(levels + grain + 0.5, 0, 255).astype(np.uint8)


def _draw(
    person: Person, vertices: np.ndarray, places: np.ndarray, scene: Scene, camera: Camera, key: KeyLight
) -> tuple[np.ndarray, np.ndarray]:
    """Premultiplied linear colour and label of every sample."""
    mesh, strands = person.mesh, person.strands
    seen = rasterize_mesh(vertices, mesh.faces, camera)
    depth = seen.depth
    radius = camera.focal * strands.radius / places[strands.segments[:, 0], 2]
    segment, across, along = draw_strands(project(places, camera), places[:, 2], strands.segments, radius, depth)
    color = np.zeros((*depth.shape, 3), np.float32)
    label = np.zeros(depth.shape, np.uint8)
    solid = (segment < 0) & (seen.face >= 0)
    color[solid], label[solid] = _shade_mesh(person, vertices, scene, camera, key, solid, seen)
    hairy = segment >= 0
    color[hairy], label[hairy] = _shade_strands(person, places, scene, key, segment[hairy], across[hairy], along[hairy])
    return color, label


def _shade_mesh(
    person: Person,
    vertices: np.ndarray,
    scene: Scene,
    camera: Camera,
    key: KeyLight,
    where: np.ndarray,
    seen: Fragments,
) -> tuple[np.ndarray, np.ndarray]:
    """Colours and labels of the samples ``where`` a triangle is in front."""
    mesh = person.mesh
    normals = vertex_normals(vertices, mesh.faces)
    table = np.ascontiguousarray(np.concatenate([mesh.attributes, normals], 1), np.float32)
    face = np.ascontiguousarray(seen.face[where])
    rows = np.empty((len(face), table.shape[1]), np.float32)
    kernels().interpolate_pixels(face, np.ascontiguousarray(seen.bary[where]), mesh.faces, table, rows)
    y, x = np.nonzero(where)
    z = seen.depth[where]
    position = np.stack(
        [(x + 0.5 - camera.cx) / camera.focal * z, (y + 0.5 - camera.cy) / camera.focal * z, z], 1
    ).astype(np.float32)
    normal = rows[:, -3:] / np.maximum(np.linalg.norm(rows[:, -3:], axis=1, keepdims=True), 1e-6)
    points = Points(rows[:, :-3], normal, position)
    material, label = mesh.material[face], mesh.label[face].copy()
    color = np.zeros((len(face), 3), np.float32)
    for kind in Material:
        chosen = np.flatnonzero(material == kind)
        if not len(chosen):
            continue
        part = Points(points.rows[chosen], normal[chosen], position[chosen])
        surface = _surface(person, part, label[chosen], kind, vertices)
        is_eye = kind in (Material.LEFT_EYE, Material.RIGHT_EYE)
        lit = key.lit(
            part.position, BIAS["cloth" if kind in (Material.CLOTH, Material.COLLAR, Material.HAT) else "skin"]
        )
        if is_eye:
            lit = 0.4 + 0.6 * lit  # the lids and brow let some light through
        color[chosen] = light_surface(scene, surface, part.position, lit)
        label[chosen] = surface.label
    return color, label


def _surface(person: Person, p: Points, label: np.ndarray, kind: Material, vertices: np.ndarray) -> Surface:
    if kind == Material.SKIN:
        return materials.skin(person, p)
    if kind in (Material.LEFT_EYE, Material.RIGHT_EYE):
        part = person.figure.anatomy.part
        centre = vertices[: len(part)][part == kind].mean(0)
        return materials.eye(person, p, label, kind, centre)
    if kind == Material.TONGUE:
        return materials.tongue(p, label)
    if kind == Material.TEETH:
        return materials.teeth(p, label)
    if kind == Material.HAT:
        return materials.hat(person, p, label)
    return materials.cloth(person, p, label, collar=kind == Material.COLLAR)


def _shade_strands(
    person: Person,
    places: np.ndarray,
    scene: Scene,
    key: KeyLight,
    segment: np.ndarray,
    across: np.ndarray,
    along: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Colours and labels of samples on strands, from their segment and their position on it."""
    strands = person.strands
    shine = 0.35 if person.traits.hair.style == "curly" else 0.8
    visible, which = np.unique(segment, return_inverse=True)
    colors = light_hair(scene, strands, places, key, shine, visible)[which]
    out = colors[:, 0] * (1 - along[:, None]) + colors[:, 1] * along[:, None]
    a, b = strands.segments[segment].T
    kind = strands.kind[segment]
    tube = np.flatnonzero((kind == StrandKind.FRAME) | (kind == StrandKind.RIB))
    if len(tube):
        i = a[tube]
        lit = np.where(
            kind[tube] == StrandKind.FRAME, key.lit(places[i], BIAS["frame"]), key.lit(places[i], BIAS["rib"])
        )
        position = strands.along[i] + along[tube] * (strands.along[b[tube]] - strands.along[i])
        out[tube] = light_tubes(scene, kind[tube], strands.color[i], across[tube], position, lit)
    labels = np.array([Label.HAIR, Label.FACE, Label.GLASSES, Label.CLOTHES], np.uint8)
    return out, labels[kind]
