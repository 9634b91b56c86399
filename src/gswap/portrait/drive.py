"""Drive a portrait and put it into the target: I_out, frame by frame, with the layers a compositor needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from gswap.field.field import Gaussians
from gswap.field.geometry import PosedSurface, pose_surface
from gswap.foundation.errors import InputError
from gswap.foundation.imaging import FloatImage, FloatMask
from gswap.foundation.protocols import BodyModel, Rasterizer
from gswap.foundation.types import BodyTrack, Camera, Progress, Render, Shot, SwapSet, TargetSet, no_progress
from gswap.portrait import masks
from gswap.portrait.detail import lip_band, lively_parts, transfer_detail, transfer_parts
from gswap.portrait.frames import Box, box_of, cut_camera, window_camera
from gswap.portrait.model import Portrait, View, track_digest

HEAD_LABEL = 0.5
"""Gaussians with more head weight than this are head, the others neck, where no matte of I_gen tells them apart."""
VISIBLE = 0.1
"""Rendered alpha from which a pixel belongs to the new head, where no matte of I_gen says so."""


@dataclass(frozen=True)
class _Layers:
    """What a frame is put together from, in the whole window."""

    hole: np.ndarray
    gate: FloatMask
    plate: np.ndarray


def render_portrait(
    portrait: Portrait,
    target: TargetSet,
    swap: SwapSet | None,
    drive: BodyTrack,
    model: BodyModel,
    *,
    rasterize: Rasterizer,
    detail: bool = True,
    progress: Progress = no_progress,
    frames: Iterable[int] | None = None,
    shots: Sequence[Shot] = (),
) -> Iterator[tuple[int, Render]]:
    """Render the portrait into a clip. Memory does not depend on the clip's length.

    Args:
        portrait: A fitted portrait.
        target: The clip.
        swap: I_gen of this clip, or ``None`` where the portrait is driven by a clip it has not seen.
        drive: Track that moves the head, with the new head's shape.
        model: The body.
        rasterize: Splats Gaussians.
        detail: Take texture finer than the field from ``swap`` where both agree, and its eyes and mouth.
        progress: Called after every frame.
        frames: Which frames, in which order; ``None`` = all.
        shots: Pose corrections are smoothed within a shot only; empty = the clip is one shot.

    Yields:
        Frame index and picture. Where ``edited`` is 0 the picture is the target's, bit for bit; a frame in which the
        person is not tracked is the target's altogether.

    Raises:
        InputError: The track belongs to another body or has another length than the clip.
    """
    _check(portrait, target, drive, model)
    wanted = list(range(len(drive)) if frames is None else frames)
    corrections = driving_corrections(portrait, drive, shots)
    condition = driving_condition(portrait)
    rest = model.rest(drive.shape)
    for done, t in enumerate(wanted, 1):
        if not drive.valid[t]:
            yield t, untouched(target.rgb[t])
            progress(done, len(wanted))
            continue
        mesh = model.pose(drive, rest, t)
        posed = pose_surface(portrait.surface, portrait.binding, mesh, drive.translation[t])
        camera = window_camera(target, drive, t)
        with torch.no_grad():
            correction = None if corrections is None else corrections[t]
            gaussians = portrait.network.field(posed, condition, correction)
            layers = _layers(portrait, posed, gaussians, target, swap, camera, rasterize, t)
            box = box_of(layers.hole)
            image, features, alpha = _composite(portrait, gaussians, layers, box, camera, rasterize)
        full = layers.plate.astype(np.float32)
        box.cut(full)[:] = image
        matte = np.zeros(full.shape[:2], np.float32)
        box.cut(matte)[:] = alpha * box.cut(layers.gate)
        if detail and swap is not None:
            trust = swap.confidence[t].astype(np.float32) / 255 * matte * (1 - lip_band(mesh, model, camera))
            window = np.s_[box.y : box.y + box.height, box.x : box.x + box.width]
            unit = masks.side(layers.hole)
            generated = swap.rgb[t][window].astype(np.float32)
            full[window] = transfer_detail(full[window], generated, trust[window], unit)
            full[window] = transfer_parts(full[window], generated, lively_parts(mesh, model, camera)[window])
        straight = np.zeros_like(full)
        box.cut(straight)[:] = features
        yield t, assemble(target.rgb[t], full, layers.plate, layers.hole, matte, straight)
        progress(done, len(wanted))


# ---------------------------------------------------------------- parameters of the drive
def smooth_rows(
    rows: Float[np.ndarray, "t d"], weights: Float[np.ndarray, "t"], shots: Sequence[Shot], sigma: float
) -> Float[np.ndarray, "t d"]:
    """Weighted Gaussian smoothing over time, never across a cut; frames of weight 0 are filled from neighbours."""
    out = np.zeros_like(rows)
    for shot in shots or (Shot(0, len(rows)),):
        span = slice(shot.start, shot.stop)
        w = weights[span].astype(np.float64)
        if not w.any():
            continue
        if sigma <= 0:
            out[span] = np.where(w[:, None] > 0, rows[span], 0)
            continue
        # A faint wide kernel fills gaps that the narrow one does not reach.
        total, mass = np.zeros_like(rows[span], dtype=np.float64), np.zeros(len(w))
        for width, share in ((sigma, 1.0), (8 * sigma, 1e-3), (64 * sigma, 1e-6)):
            total += share * gaussian_filter1d(rows[span] * w[:, None], width, axis=0, mode="constant", truncate=6)
            mass += share * gaussian_filter1d(w, width, mode="constant", truncate=6)
        out[span] = total / np.maximum(mass, 1e-30)[:, None]
    return out


def driving_condition(portrait: Portrait) -> Float[Tensor, "8"] | None:
    """The c_t that drives: the mean over the frames of the fit, or that of the first one (the paper's c_1)."""
    seen = torch.from_numpy(portrait.visits > 0)
    if portrait.cfg.temporal == "none" or not seen.any():
        return None
    rows = portrait.network.field.condition.detach()[seen]
    return rows[0] if portrait.cfg.driving_condition == "first" else rows.mean(0)


def driving_corrections(portrait: Portrait, drive: BodyTrack, shots: Sequence[Shot]) -> Float[Tensor, "t 6"] | None:
    """Pose corrections belong to the track of the fit; another track is driven without."""
    if not portrait.cfg.correct_pose or track_digest(drive) != portrait.track_digest:
        return None
    rows = portrait.network.field.correction.detach().numpy().astype(np.float64)
    smooth = smooth_rows(rows, portrait.visits, shots, portrait.cfg.correction_sigma)
    return torch.from_numpy(smooth.astype(np.float32))


def _check(portrait: Portrait, target: TargetSet, drive: BodyTrack, model: BodyModel) -> None:
    if model.name != portrait.shape.model or drive.shape.model != portrait.shape.model:
        raise InputError(
            f"The portrait stands on the body model {portrait.shape.model!r}, the track on {drive.shape.model!r}."
        )
    if len(target.rgb) != len(drive):
        raise InputError(f"Expected a track of {len(target.rgb)} frames, found one of {len(drive)}.")


# ---------------------------------------------------------------- one frame
def _layers(
    portrait: Portrait,
    posed: PosedSurface,
    gaussians: Gaussians,
    target: TargetSet,
    swap: SwapSet | None,
    camera: Camera,
    rasterize: Rasterizer,
    t: int,
) -> _Layers:
    target_head, target_neck = target.head[t], target.neck[t]
    if swap is not None:
        head, neck, plate = swap.head[t], swap.neck[t], swap.plate[t]
    else:
        head, neck, plate = *_rendered_mattes(portrait, posed, gaussians, camera, rasterize), target.plate[t]
        neck = np.minimum(neck, np.maximum(target_neck, target_head))
    matte = masks.union_matte(head, neck)
    hole = masks.inpaint_mask(matte, target_head, target_neck, rgb=target.rgb[t], plate=plate)
    body = masks.torso(target.person[t], target_head, target_neck)
    return _Layers(hole, masks.head_gate(hole, body, head, neck), plate)


def _rendered_mattes(
    portrait: Portrait, posed: PosedSurface, gaussians: Gaussians, camera: Camera, rasterize: Rasterizer
) -> tuple[np.ndarray, np.ndarray]:
    """Mattes of head and neck by the field alone (frames for which there is no I_gen)."""
    is_head = (portrait.network.field.head_weight.index_select(0, posed.visible) > HEAD_LABEL).float()
    labels, alpha = rasterize(*gaussians[:4], torch.cat([is_head, 1 - is_head], 1), camera)
    labels = torch.where(alpha > VISIBLE, labels, torch.zeros_like(labels))
    head, neck = (labels.clamp(0, 1) * 255).round().byte().numpy()
    return head, neck


def _composite(
    portrait: Portrait, gaussians: Gaussians, layers: _Layers, box: Box, camera: Camera, rasterize: Rasterizer
) -> tuple[FloatImage, FloatImage, FloatMask]:
    """I_out, straight head colours (levels 0-255) and alpha in the box."""
    plate = torch.from_numpy(np.ascontiguousarray(box.cut(layers.plate))).permute(2, 0, 1)[None].float() / 255
    plate = plate.contiguous(memory_format=torch.channels_last)
    gate = torch.from_numpy(np.ascontiguousarray(box.cut(layers.gate), np.float32))
    features, alpha = rasterize(*gaussians, cut_camera(camera, 1, box))
    image = portrait.network.composite(features, alpha, View(plate, gate, cut_camera(camera, 1, box)))
    straight = features[:3] / alpha.clamp(min=1e-3)
    to_levels = lambda x: np.ascontiguousarray((x.clamp(0, 1) * 255).permute(1, 2, 0).numpy())  # noqa: E731
    return to_levels(image[0]), to_levels(straight), alpha.numpy()


# ---------------------------------------------------------------- the final picture and its layers
def untouched(rgb: np.ndarray) -> Render:
    """A frame that is passed through."""
    nothing = np.zeros(rgb.shape[:2], np.uint8)
    return Render(rgb=rgb, alpha=nothing, foreground=np.zeros_like(rgb), plate=rgb, edited=nothing)


def assemble(
    rgb: np.ndarray, image: FloatImage, plate: np.ndarray, hole: np.ndarray, matte: FloatMask, straight: FloatImage
) -> Render:
    """Feather the edited picture into the target, and split the result into layers.

    The layers rebuild the picture: ``rgb = alpha * foreground + (1 - alpha) * plate`` to rounding. What the rerenderer
    changed is put into the foreground where that is opaque, and into the plate where it is not.

    Args:
        rgb: The target.
        image: I_out in the whole window, levels 0-255.
        plate: The target without its head.
        hole: M_inp.
        matte: Alpha of the new head, before feathering.
        straight: Its colours, levels 0-255, not multiplied by alpha.
    """
    soft = np.round(masks.feather(hole) * 255)
    edited = soft > 0
    weight = (soft / 255)[..., None].astype(np.float32)
    out = np.where(edited[..., None], np.round(weight * image + (1 - weight) * plate), rgb).clip(0, 255)
    alpha = np.round(matte * weight[..., 0] * 255) * edited
    a = (alpha / 255)[..., None].astype(np.float32)
    below = np.where(edited[..., None], plate, rgb).astype(np.float32)
    above = np.where(a > 0.5, (out - (1 - a) * below) / np.maximum(a, 0.5), straight).clip(0, 255).round()
    thin = edited[..., None] & (a <= 0.5)
    below = np.where(thin, (out - a * above) / np.maximum(1 - a, 0.5), below).clip(0, 255)
    to_bytes = lambda x: np.ascontiguousarray(np.round(x).astype(np.uint8))  # noqa: E731
    return Render(
        rgb=to_bytes(out),
        alpha=to_bytes(alpha),
        foreground=to_bytes(above),
        plate=to_bytes(below),
        edited=edited.astype(np.uint8) * 255,
    )
