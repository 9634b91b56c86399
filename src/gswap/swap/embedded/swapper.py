"""Photos and a tracked target in, one head-swapped image per frame out (I_gen), without any weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import cv2
import numpy as np
from jaxtyping import Float

from gswap.foundation.errors import InputError
from gswap.foundation.imaging import blend_multiband, over
from gswap.foundation.landmarks import BROW_LEFT, BROW_RIGHT, EYE_LEFT, EYE_RIGHT, mouth_gap
from gswap.foundation.protocols import BodyModel
from gswap.foundation.types import BodyTrack, FaceTrack, PhotoSet, SwapFrame, TargetSet
from gswap.swap.config import SwapConfig
from gswap.swap.embedded import mouth as mouths
from gswap.swap.embedded.compose import Crop, in_front, kept_torso, stack, to_image8, to_mask
from gswap.swap.embedded.confidence import confidence, sampling_density
from gswap.swap.embedded.densemap import Geometry, build_geometry, photo_map, photo_points
from gswap.swap.embedded.eyes import eyeball_layer, shut_lids
from gswap.swap.embedded.neck import build_neck
from gswap.swap.embedded.plan import Inputs, Plan, make_plan
from gswap.swap.embedded.regions import MOUTH_HULL, Points2, eyes_mask, mouth_mask, oval_mask, skin_mask
from gswap.swap.embedded.relight import relight, shading
from gswap.swap.embedded.trim import trim

NEGLIGIBLE = 0.02
"""Photos with less weight than this are left out of a cross-fade."""
OUTLINE_VOTE = 4
"""Exponent of the photos' weights where they vote on the outline: a minor photo leaves no ghost of its hair."""


class FrameChoice(TypedDict):
    """What one frame is made of, for the report. Photos are numbered as they were given."""

    base: int
    eyes: int
    mouth: int
    mirrored: bool
    """The head's photo is seen in a mirror."""
    angle: float
    """Degrees between the head's photo and the frame."""


@dataclass
class _Head:
    """The head of one frame in its crop, while it is being made."""

    colour: Float[np.ndarray, "h w 3"]
    alpha: Float[np.ndarray, "h w"]
    density: Float[np.ndarray, "h2 w2"]
    """Photo pixels per output pixel over the two pictures' face widths: 1 = as sharp as the photo allows."""
    guessed: Float[np.ndarray, "h w"]


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
        plan, cfg, target = self.plan, self.cfg, self.target
        rgb, plate = target.rgb[t], target.plate[t]
        h, w = rgb.shape[:2]
        crop = Crop.around(plan.frames.image[t], cfg.crop, (w, h))
        corner = np.array([crop.x, crop.y])
        points_b = plan.frames.image[t] - corner
        pose = plan.frames.rotation[t], plan.frames.translation[t]
        geometry = build_geometry(plan.posed.local[t], plan.shell, pose, crop.camera(plan.frames.cameras[t]), cfg.map)
        points = geometry.points
        scene = crop.cut(rgb)
        person, head_b, neck_b = (
            crop.cut(store[t]).astype(np.float32) / 255 for store in (target.person, target.head, target.neck)
        )
        head = self._head(t, geometry, scene, points_b)
        torso = np.clip(person - np.maximum(head_b, neck_b), 0, 1)
        head.alpha, head.colour = trim(head.alpha, head.colour, points, torso, plan.long_hair, cfg.trim)
        size = head.alpha.shape
        skin_a = skin_mask(points, *size) & (head.alpha > 0.9)
        skin_b = skin_mask(points_b, *size) & (np.maximum(head_b, neck_b) > 0.5)
        seen = scene.astype(np.float32)
        light = [shading(im, m, geometry.face_width, plan.light) for im, m in ((seen, skin_b), (head.colour, skin_a))]
        face = oval_mask(points, *size)
        colour = relight(head.colour, plan.gain, light[0] - light[1], face, geometry.face_width, plan.light)
        neck = build_neck(
            scene, np.maximum(head_b, neck_b), points_b, (colour, head.alpha, skin_a, points), skin_b, torso
        )
        head_alpha, neck_alpha = head.alpha, neck.alpha
        keep = kept_torso(person, head_b, points_b, target.long_hair) * (1 - neck.beyond)
        if cfg.occluders:
            front = in_front(head_b, neck_b, person, points_b)
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
        masks = np.zeros((3, h, w), np.uint8)
        masks[2] = 255
        for mask, part in zip(masks, (head_alpha, neck_alpha, trust), strict=True):
            crop.paste(mask, to_mask(part))
        return SwapFrame(out_image, masks[0], masks[1], out_plate, masks[2])

    def _require_face(self, t: int) -> None:
        if not self.plan.frames.valid[t]:
            raise InputError("Expected the target's face in this frame, found none.", frame=t)

    # ------------------------------------------------------------ the head
    def _head(self, t: int, geometry: Geometry, scene: np.ndarray, points_b: Points2) -> _Head:
        """Warp the photos, then merge eyes, lids and mouth into the head."""
        choice = self.plan.choice
        whole = (0, 0, scene.shape[1], scene.shape[0])
        colour, alpha, density = self._blend(t, geometry, whole, choice.base[t], eyes=False)
        head = _Head(colour, alpha, density, np.zeros(alpha.shape, np.float32))
        self._merge_eyes(t, geometry, head, scene, points_b)
        self._merge_mouth(t, geometry, head, scene, points_b)
        return head

    def _blend(self, t: int, geometry: Geometry, box: tuple[int, int, int, int], weights: np.ndarray, eyes: bool):
        """Photos warped into a box of the crop and averaged: straight colour, alpha, sampling density."""
        part = geometry.crop(box)
        chosen = np.flatnonzero(weights > NEGLIGIBLE)
        shares = weights[chosen] / weights[chosen].sum()
        outline = shares**OUTLINE_VOTE / (shares**OUTLINE_VOTE).sum()
        h, w = part.face.face.shape
        colour = np.zeros((h, w, 3), np.float32)
        alpha, total = np.zeros((h, w), np.float32), np.zeros((h, w), np.float32)
        density = np.zeros(part.cosine.shape, np.float32)
        for share, vote, i in zip(shares, outline, chosen, strict=True):
            photo = self.plan.photos[i]
            mapping = self._map(t, part, int(i))
            matte = _look_up(photo.alpha, mapping, cv2.INTER_LINEAR)
            warped = _look_up(photo.foreground, mapping, cv2.INTER_CUBIC)
            if eyes:
                inside, opening = eyeball_layer(part.points, photo.points, (h, w), part.face_width)
                eyeballs = _look_up(photo.foreground, inside, cv2.INTER_CUBIC)
                warped = over(eyeballs.astype(np.float32), opening, warped.astype(np.float32))
            cover = matte.astype(np.float32) * np.float32(share / 255)
            weight = cover + np.float32(1e-3 * share)  # colours stay defined where no photo covers
            colour += cv2.multiply(warped, cv2.merge([weight] * 3), dtype=cv2.CV_32F)
            total += weight
            alpha += matte.astype(np.float32) * np.float32(vote / 255)
            scale = geometry.face_width / photo.face_width
            density += np.float32(share * scale) * sampling_density(mapping)
        return cv2.divide(colour, cv2.merge([total] * 3)), alpha, density

    def _map(self, t: int, part: Geometry, i: int) -> Float[np.ndarray, "h w 2"]:
        plan = self.plan
        frames, photos = plan.looks
        aim = photo_points(plan.photos[i], float(frames.gap[t] - photos.gap[i]), plan.borrowed_lids[t], self.cfg.map)
        pose = plan.people.rotation[i], plan.people.translation[i]
        return photo_map(part, plan.photos[i], aim, pose, plan.to_target, self.cfg.map)

    def _merge_eyes(self, t: int, geometry: Geometry, head: _Head, scene: np.ndarray, points_b: Points2) -> None:
        """Eyes and brows from the photo chosen for them; shut lids where no photo shows them."""
        plan, width = self.plan, geometry.face_width
        crop = Crop(0, 0, scene.shape[1], scene.shape[0])
        ring = geometry.points[[*EYE_RIGHT, *EYE_LEFT, *BROW_RIGHT, *BROW_LEFT]]
        box = crop.inner_box(ring, 0.14 * width)
        patch, _, _ = self._blend(t, geometry, box, plan.choice.eyes[t], eyes=True)
        x0, y0, x1, y1 = box
        area = np.s_[y0:y1, x0:x1]
        points = geometry.points - [x0, y0]
        mask = eyes_mask(points, y1 - y0, x1 - x0, width)
        merged = blend_multiband(head.colour[area], patch.astype(np.float32), mask)
        lids = plan.borrowed_lids[t]
        if lids.max() > 0:
            donor = scene[area].astype(np.float32)
            touched = shut_lids(merged, donor, points, points_b - [x0, y0], lids)
            head.guessed[area] = np.maximum(head.guessed[area], touched)
        head.colour[area] = np.clip(merged, 0, 255)

    def _merge_mouth(self, t: int, geometry: Geometry, head: _Head, scene: np.ndarray, points_b: Points2) -> None:
        """Lips from the photo chosen for the mouth, then what is between them."""
        plan, width = self.plan, geometry.face_width
        crop = Crop(0, 0, scene.shape[1], scene.shape[0])
        x0, y0, x1, y1 = box = crop.inner_box(geometry.points[list(MOUTH_HULL)], 0.2 * width)
        area = np.s_[y0:y1, x0:x1]
        points = geometry.points - [x0, y0]
        colour = head.colour[area]
        if np.abs(plan.choice.mouth[t] - plan.choice.base[t]).max() > NEGLIGIBLE:
            patch, _, _ = self._blend(t, geometry, box, plan.choice.mouth[t], eyes=False)
            mask = mouth_mask(points, y1 - y0, x1 - x0, width)
            colour = blend_multiband(colour, patch.astype(np.float32), mask)
        gap = float(mouth_gap(plan.posed.local[t]))
        amount = mouths.opacity(gap)
        if amount > 0:
            interior = mouths.Interior(points, (y1 - y0, x1 - x0))
            picture, guess = self._interior(t, interior, colour, scene, points_b, gap)
            mask = interior.mask(width) * np.float32(amount)
            colour = colour * (1 - mask[..., None]) + picture * mask[..., None]
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


def _look_up(image: np.ndarray, mapping: Float[np.ndarray, "h w 2"], interpolation: int) -> np.ndarray:
    """Sample an 8-bit image at continuous coordinates; mattes are 0 outside, colours continue."""
    shifted = mapping - np.float32(0.5)
    border = cv2.BORDER_CONSTANT if image.ndim == 2 else cv2.BORDER_REPLICATE
    return cv2.remap(image, shifted[..., 0], shifted[..., 1], interpolation, borderMode=border)
