"""Photos and a tracked target in, one head-swapped image per frame out (I_gen), without any weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from gswap.foundation.errors import InputError
from gswap.foundation.imaging import blend_multiband, over
from gswap.foundation.landmarks import BROW_LEFT, BROW_RIGHT, EYE_LEFT, EYE_RIGHT, mouth_gap
from gswap.foundation.protocols import BodyModel
from gswap.foundation.types import BodyTrack, FaceTrack, PhotoSet, SwapFrame, TargetSet
from gswap.swap.config import SwapConfig
from gswap.swap.embedded import mouth as mouths
from gswap.swap.embedded.compose import Box, Crop, in_front, kept_torso, stack, to_image8, to_mask
from gswap.swap.embedded.confidence import confidence, sampling_density
from gswap.swap.embedded.densemap import (
    HALF,
    CoarseMap,
    Geometry,
    build_geometry,
    coarse_map,
    detailed,
    photo_points,
)
from gswap.swap.embedded.eyes import eyeballs, shut_lids
from gswap.swap.embedded.falling import Fallen, behind_body, falling, hidden_by, with_back
from gswap.swap.embedded.neck import build_neck
from gswap.swap.embedded.plan import Inputs, Plan, make_plan
from gswap.swap.embedded.regions import MOUTH_HULL, Points2, bounds_of, eyes_mask, mouth_mask, oval_mask, skin_mask
from gswap.swap.embedded.relight import relight, shading
from gswap.swap.embedded.trim import trim
from gswap.swap.embedded.warped import NEGLIGIBLE, Warped, look_up, mix, shares, warp

CHANGES = 0.1
"""How far beyond the new head and the target's head and neck a frame is worked on, face widths."""


class FrameChoice(TypedDict):
    """What one frame is made of, for the report. Photos are numbered as they were given."""

    base: int
    eyes: int
    mouth: int
    mirrored: bool
    """The head's photo is seen in a mirror."""
    angle: float
    """Degrees between the head's photo and the frame."""


@dataclass(frozen=True)
class _Stage:
    """One frame before its head is made, in the crop that will change."""

    crop: Crop
    geometry: Geometry
    maps: dict[int, CoarseMap]
    """To the photos that show the head."""
    scene: UInt8[np.ndarray, "h w 3"]
    points: Points2
    """The target's landmarks."""
    person: Float[np.ndarray, "h w"]
    head: Float[np.ndarray, "h w"]
    neck: Float[np.ndarray, "h w"]

    @property
    def covered(self) -> Float[np.ndarray, "h w"]:
        """The target's head and neck."""
        return np.maximum(self.head, self.neck)


@dataclass
class _Head:
    """The head of one frame in its crop, while it is being made."""

    colour: Float[np.ndarray, "h w 3"]
    alpha: Float[np.ndarray, "h w"]
    density: Float[np.ndarray, "h2 w2"]
    """Photo pixels per output pixel over the two pictures' face widths: 1 = as sharp as the photo allows."""
    guessed: Float[np.ndarray, "h w"]
    fallen: Fallen | None = None
    """Long hair that goes on below its photos' borders."""


class EmbeddedSwapper:
    """Image head swapper (Sec. III-B without weights). A frame is a pure function of its number.

    Args:
        target: The clip in its work window.
        target_faces: Its landmarks, in full-frame pixels.
        target_body: Its body fit.
        photos: The source photos with mattes.
        photo_faces: Their landmarks.
        photo_body: Their body fit.
        model: The body model of both fits.
        cfg: Options and constants.

    Raises:
        InputError: No frame, or no photo, has a face.
    """

    def __init__(
        self,
        target: TargetSet,
        target_faces: FaceTrack,
        target_body: BodyTrack,
        photos: PhotoSet,
        photo_faces: FaceTrack,
        photo_body: BodyTrack,
        model: BodyModel,
        cfg: SwapConfig | None = None,
    ) -> None:
        self.cfg = cfg or SwapConfig()
        self.target = target
        inputs = Inputs(target, target_faces, target_body, photos, photo_faces, photo_body, model)
        self.plan: Plan = make_plan(inputs, self.cfg)

    def advice(self) -> tuple[str, ...]:
        """Which photos would have helped, and for which frames."""
        return self.plan.advice

    def choice(self, t: int) -> FrameChoice:
        """Which photos frame ``t`` is made of."""
        self._require_face(t)
        weights, numbers = self.plan.choice, self.plan.photo_numbers
        base = int(weights.base[t].argmax())
        eyes, mouth = int(numbers[weights.eyes[t].argmax()]), int(numbers[weights.mouth[t].argmax()])
        mirrored, angle = bool(self.plan.mirrored[base]), float(weights.angle[t, base])
        return FrameChoice(base=int(numbers[base]), eyes=eyes, mouth=mouth, mirrored=mirrored, angle=angle)

    def frame(self, t: int) -> SwapFrame:
        """Make frame ``t`` of I_gen.

        Raises:
            InputError: The target's face is not seen in this frame.
        """
        self._require_face(t)
        plan, cfg, plate = self.plan, self.cfg, self.target.plate[t]
        stage = self._stage(t)
        crop, geometry, points_b = stage.crop, stage.geometry, stage.points
        head = self._head(t, stage)
        torso = np.clip(stage.person - stage.covered, 0, 1)
        grown, no_neck = None, torso
        if head.fallen is not None:  # the photo's neck does not fade out over hair
            grown, no_neck = head.fallen.grown, np.maximum(torso, 1 - stage.person)
        head.alpha, head.colour = trim(
            head.alpha, head.colour, geometry.points, no_neck, plan.long_hair, cfg.trim, grown
        )
        skins = _skins(stage, head)
        light = self._light(stage, head, skins)
        colour = light(head.colour)
        seen = head.alpha if grown is None else head.alpha * (1 - grown)  # a guess says nothing about the neck's sides
        new_head = (colour, seen, skins[1], geometry.points)
        neck = build_neck(stage.scene, stage.covered, points_b, new_head, skins[0], torso)
        head_alpha, neck_alpha = head.alpha, neck.alpha
        keep = kept_torso(stage.person, stage.head, points_b, self.target.long_hair) * (1 - neck.beyond)
        if head.fallen is not None:
            body = np.maximum(torso, keep)
            clothes = np.maximum(torso, keep * (1 - neck.alpha))  # the target's neck mask may reach over its collar
            head_alpha = behind_body(head_alpha, head.fallen, clothes, neck.alpha, geometry.points)
            back = light(head.fallen.back), hidden_by(head.fallen.cover, body)
            colour, head_alpha, neck_alpha, share = with_back(colour, head_alpha, neck_alpha, back)
            head.guessed = np.maximum(np.maximum(head.guessed, head.fallen.grown), share)
        if cfg.occluders:
            front = in_front(stage.head, stage.neck, stage.person, points_b)
            head_alpha, neck_alpha, keep = head_alpha * (1 - front), neck_alpha * (1 - front), np.maximum(keep, front)
        image, behind = stack(
            neck.scene, crop.cut(plate).astype(np.float32), (neck.colour, neck_alpha), (colour, head_alpha), keep
        )
        base = int(plan.choice.base[t].argmax())
        guessed = np.maximum(head.guessed * head_alpha, neck.filled * (1 - head_alpha))
        trust = confidence(head_alpha, head.density, geometry.cosine, float(plan.choice.angle[t, base]), guessed)
        out_image, out_plate = plate.copy(), plate.copy()
        crop.paste(out_image, to_image8(image))
        crop.paste(out_plate, to_image8(behind))
        masks = np.zeros((3, *plate.shape[:2]), np.uint8)
        masks[2] = 255
        for mask, part in zip(masks, (head_alpha, neck_alpha, trust), strict=True):
            crop.paste(mask, to_mask(part))
        return SwapFrame(out_image, masks[0], masks[1], out_plate, masks[2])

    def _require_face(self, t: int) -> None:
        if not self.plan.frames.valid[t]:
            raise InputError("Expected the target's face in this frame, found none.", frame=t)

    # ------------------------------------------------------------ the stage
    def _stage(self, t: int) -> _Stage:
        """Geometry, coarse maps and the target in the box that holds the new head and the target's."""
        plan, target = self.plan, self.target
        rgb = target.rgb[t]
        side, up, down = self.cfg.crop
        if plan.long_hair:
            down = max(down, self.cfg.crop_long_hair)
        crop = Crop.around(plan.frames.image[t], (side, up, down), (rgb.shape[1], rgb.shape[0]))
        pose = plan.frames.rotation[t], plan.frames.translation[t]
        camera = crop.camera(plan.frames.cameras[t])
        geometry = build_geometry(plan.posed.local[t], plan.shell, pose, camera, self.cfg.map)
        maps = {i: coarse_map(geometry, *self._mapping(t, i)) for i, _ in shares(plan.choice.base[t])}
        person, head, neck = (crop.cut(store[t]) for store in (target.person, target.head, target.neck))
        shown = (np.maximum(head, neck) > 0)[::HALF, ::HALF]
        for i, coarse in maps.items():
            shown = shown | (look_up(plan.photos[i].alpha, coarse.field, cv2.INTER_LINEAR) > 0)
        box = crop.inner_box(_corners(shown, geometry), CHANGES * geometry.face_width)
        inner = crop.part(box)
        x0, y0, x1, y1 = box
        return _Stage(
            inner,
            geometry.crop(box),
            {i: coarse.crop(box) for i, coarse in maps.items()},
            inner.cut(rgb),
            plan.frames.image[t] - [inner.x, inner.y],
            *(np.divide(mask[y0:y1, x0:x1], 255, dtype=np.float32) for mask in (person, head, neck)),
        )

    # ------------------------------------------------------------ the head
    def _head(self, t: int, stage: _Stage) -> _Head:
        """Warp the photos, then merge eyes, lids and mouth into the head."""
        maps = {i: detailed(stage.geometry, coarse) for i, coarse in stage.maps.items()}
        warped = {i: warp(self.plan.photos[i], mapping) for i, mapping in maps.items()}
        chosen = shares(self.plan.choice.base[t])
        colour, alpha = mix([(share, warped[i]) for i, share in chosen])
        density = np.zeros(stage.geometry.cosine.shape, np.float32)
        for i, share in chosen:
            scale = share * stage.geometry.face_width / self.plan.photos[i].face_width
            density += np.float32(scale) * sampling_density(maps[i][::HALF, ::HALF])
        fallen = falling([(share, self.plan.photos[i], maps[i]) for i, share in chosen], self.cfg.fall)
        head = _Head(colour, alpha, density, np.zeros(alpha.shape, np.float32), fallen)
        self._merge_eyes(t, stage, head, warped)
        self._merge_mouth(t, stage, head, warped)
        return head

    def _light(
        self, stage: _Stage, head: _Head, skins: tuple[np.ndarray, np.ndarray]
    ) -> Callable[[Float[np.ndarray, "h w 3"]], Float[np.ndarray, "h w 3"]]:
        """What puts colours of the head into the scene's light."""
        light, width = self.plan.light, stage.geometry.face_width
        pictures = stage.scene.astype(np.float32), head.colour
        theirs, own = (shading(*one, width, light) for one in zip(pictures, skins, strict=True))
        face = oval_mask(stage.geometry.points, *head.alpha.shape)
        return lambda colour: relight(colour, self.plan.gain, theirs - own, face, width, light)

    def _part(
        self, t: int, part: Geometry, box: Box, weights: np.ndarray, whole: dict[int, Warped], *, eyes: bool
    ) -> Float[np.ndarray, "h w 3"]:
        """Photos in a box of the crop, averaged; those that show the whole head are cut from that."""
        pieces = []
        for i, share in shares(weights):
            photo = self.plan.photos[i]
            if i in whole:
                piece = whole[i].part(box)
            else:
                piece = warp(photo, detailed(part, coarse_map(part, *self._mapping(t, i))))
            if eyes:
                size = (box[3] - box[1], box[2] - box[0])
                balls, opening = eyeballs(part.points, photo.points, self.plan.eyes[i], size, part.face_width)
                piece = piece._replace(colour=over(balls, opening, piece.colour.astype(np.float32)))
            pieces.append((share, piece))
        return mix(pieces)[0]

    def _mapping(self, t: int, i: int):
        """What :func:`coarse_map` wants to know of photo ``i``: all its arguments but the geometry."""
        plan, cfg = self.plan, self.cfg.map
        frames, photos = plan.looks
        aim = photo_points(plan.photos[i], float(frames.gap[t] - photos.gap[i]), plan.borrowed_lids[t], cfg)
        pose = plan.people.rotation[i], plan.people.translation[i]
        return plan.photos[i], aim, pose, plan.to_target, cfg

    def _merge_eyes(self, t: int, stage: _Stage, head: _Head, whole: dict[int, Warped]) -> None:
        """Eyes and brows from the photo chosen for them; shut lids where no photo shows them."""
        plan, geometry = self.plan, stage.geometry
        width = geometry.face_width
        ring = geometry.points[[*EYE_RIGHT, *EYE_LEFT, *BROW_RIGHT, *BROW_LEFT]]
        x0, y0, x1, y1 = box = stage.crop.inner_box(ring, 0.14 * width)
        area, part = np.s_[y0:y1, x0:x1], geometry.crop(box)
        patch = self._part(t, part, box, plan.choice.eyes[t], whole, eyes=True)
        mask = eyes_mask(part.points, y1 - y0, x1 - x0, width)
        merged = blend_multiband(head.colour[area], patch, mask)
        lids = plan.borrowed_lids[t]
        if lids.max() > 0:
            donor = stage.scene[area].astype(np.float32)
            touched = shut_lids(merged, donor, part.points, stage.points - [x0, y0], lids)
            head.guessed[area] = np.maximum(head.guessed[area], touched)
        head.colour[area] = np.clip(merged, 0, 255)

    def _merge_mouth(self, t: int, stage: _Stage, head: _Head, whole: dict[int, Warped]) -> None:
        """Lips from the photo chosen for the mouth, then what is between them."""
        plan, geometry = self.plan, stage.geometry
        width = geometry.face_width
        x0, y0, x1, y1 = box = stage.crop.inner_box(geometry.points[list(MOUTH_HULL)], 0.2 * width)
        area, part = np.s_[y0:y1, x0:x1], geometry.crop(box)
        colour = head.colour[area]
        if np.abs(plan.choice.mouth[t] - plan.choice.base[t]).max() > NEGLIGIBLE:
            patch = self._part(t, part, box, plan.choice.mouth[t], whole, eyes=False)
            mask = mouth_mask(part.points, y1 - y0, x1 - x0, width)
            colour = blend_multiband(colour, patch, mask)
        gap = float(mouth_gap(plan.posed.local[t]))
        interior = mouths.Interior(part.points, (y1 - y0, x1 - x0))
        mask = interior.mask(width) * np.float32(mouths.opacity(gap))
        if mask.any():  # the mouth is open, and in the picture
            picture, guess = self._interior(t, interior, colour, stage.scene, stage.points, gap)
            colour = over(np.asarray(picture, np.float32), mask, colour)
            head.guessed[area] = np.maximum(head.guessed[area], mask * guess)
        head.colour[area] = np.clip(colour, 0, 255)

    def _interior(self, t, interior: mouths.Interior, colour, scene, points_b: Points2, gap: float):
        """The inside of the mouth, and the share of it that no photo shows."""
        plan = self.plan
        share = float(plan.choice.interior[t])
        picture = np.float32(0)
        if share > NEGLIGIBLE:
            photo = plan.photos[int(plan.choice.mouth[t].argmax())]
            picture = picture + np.float32(share) * mouths.from_photo(interior, photo.foreground, photo.points)
        if share < 1 - NEGLIGIBLE:
            kind = mouths.fallback(self.cfg.mouth, plan.teeth_photo >= 0)
            wide = mouths.width_share(gap) if kind == "target" else 0.0
            other = np.float32(0)
            if wide > 0:
                width = float(np.ptp(interior.points[:468, 0]))
                other = np.float32(wide) * mouths.from_target(interior, scene, points_b, plan.gain, width)
            if wide < 1:
                teeth = None
                if kind == "teeth":
                    photo = plan.photos[plan.teeth_photo]
                    teeth = (photo.foreground, photo.points, float(plan.looks[1].gap[plan.teeth_photo]))
                lips = mouths.lip_colour(colour, interior.points)
                other = other + np.float32(1 - wide) * mouths.painted(interior, lips, gap, teeth)
            picture = picture + np.float32(1 - share) * other
        return picture, 1 - share


def _skins(stage: _Stage, head: _Head) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Facial skin of the target and of the new head."""
    size = head.alpha.shape
    theirs = skin_mask(stage.points, *size) & (stage.covered > 0.5)
    return theirs, skin_mask(stage.geometry.points, *size) & (head.alpha > 0.9)


def _corners(shown: Bool[np.ndarray, "h2 w2"], geometry: Geometry) -> Float[np.ndarray, "n 2"]:
    """Points of a crop around what is shown at half resolution, and around the face."""
    box = bounds_of(shown, 1)
    shown_corners = np.zeros((0, 2)) if box is None else np.reshape(box, (2, 2)) * float(HALF)
    return np.vstack([shown_corners, geometry.points[:468]])
