"""Fit a portrait to I_gen: coarse to fine, one frame a step, resumable (Sec. III-C3 of arXiv 2603.23168)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from gswap.field.geometry import TrackGeometry
from gswap.field.regularise import MeshLaplacian, Neighbours, limit_growth
from gswap.foundation.errors import InputError
from gswap.foundation.protocols import BodyModel, Rasterizer
from gswap.foundation.types import BodyTrack, ImageStore, Progress, RgbImage, SwapSet, TargetSet, no_progress
from gswap.portrait.beginning import begin_at_outline, begin_with_pictures, mark_hair
from gswap.portrait.checkpoint import Curve, read_checkpoint, write_checkpoint
from gswap.portrait.config import FitConfig
from gswap.portrait.frames import TrainingFrame, TrainingFrames, window_camera
from gswap.portrait.guidance import GuidingFrames, cut, guided_loss
from gswap.portrait.losses import PerceptualLoss, field_losses, image_losses, mode_losses
from gswap.portrait.model import Portrait, Rendering, View, build_portrait
from gswap.portrait.outline import HeadPicture, outline_offsets
from gswap.portrait.preview import preview_sheet
from gswap.portrait.sides import Sides

COLOR_FRAMES = 12
"""Frames that the fit begins from."""
DAMPING = {
    "field.features": 6e-3,
    "field.opacity_logit": 2e-3,
    "field.log_scale": 2e-3,
    "field.rotation": 5e-4,
    "field.offset": 2.0,
    "field.feature_modes": 6e-3,
}
"""Adam's epsilon times the number of Gaussians (gradients fall as that number grows): a fifth of the median gradient.

Adam makes steps of one size out of gradients of any size, so that Gaussians which hardly show (behind the ears, at
grazing angles) would walk at random; with an epsilon of the order of a weak gradient they stay where they began.
"""
EXPRESSION_FRAMES = 64
"""Frames whose faces give the components of the expression."""
RUN, PASSES = 8, 2
"""Frames that are visited in turns, and how often, before the next ones are read."""
REGULARISE_EVERY = 4
"""Steps between two looks at the regularisers."""
REGULARISE_MODES_EVERY = 16
"""The same for what changes with the expression: eleven times as many numbers."""
SIDES_EVERY = 6
"""Steps between two views from a random side."""
COSTLY_EVERY = 4
"""Steps between two looks of the perceptual loss and of the super-resolution guidance."""
BLINK, JAW_OPEN = ("eyeBlinkLeft", "eyeBlinkRight"), "jawOpen"
BLINK_LEVEL, JAW_LEVEL, RARE = 0.35, 0.15, 0.25
"""Actions from which a frame counts as a blink or a wide mouth; what a larger share of frames does is not rare."""


def fit_portrait(
    target: TargetSet,
    swap: SwapSet,
    drive: BodyTrack,
    model: BodyModel,
    cfg: FitConfig,
    *,
    rasterize: Rasterizer,
    state: Path | None = None,
    progress: Progress = no_progress,
    on_preview: Callable[[int, RgbImage], None] | None = None,
    perceptual: PerceptualLoss | None = None,
    enlarged: ImageStore | None = None,
    start: Portrait | None = None,
) -> Portrait:
    """Distil a head-swapped data set into a portrait.

    Args:
        target: The clip.
        swap: I_gen of the clip.
        drive: The track that I_gen was painted with, with the new head's shape (docs/architecture.md).
        model: The body.
        cfg: Schedule, rates and weights.
        rasterize: Splats Gaussians, differentiably.
        state: Folder for checkpoints and the loss curve; a killed fit that finds its checkpoint there ends with the
            same bytes as an undisturbed one. ``None`` = keep nothing.
        progress: Called after every step.
        on_preview: Called every ``cfg.preview_every`` steps with the step and a sheet (I_gen, I_out, head alone).
        perceptual: LPIPS or a relative; ``None`` = gradients and SSIM stand in for it.
        enlarged: I_gen at twice its size by super-resolution (``portrait.guidance``); ``None`` = no guidance.
        start: Refine this portrait of the same person instead of beginning from grey.

    Raises:
        InputError: No frame of the clip can be used, or ``start`` belongs to another body shape.
    """
    chosen = training_frames(drive, model, cfg)
    texels = cfg.texture_side(*target.window.size)
    portrait = build_portrait(model, drive, None if start is None else start.binding, texels, cfg)
    if start is not None:
        _adopt(portrait, start)
    names = _trainable(portrait.network, cfg)
    optimizer = _optimizer(names, len(portrait.binding), cfg)
    curve = Curve([], []) if state is None else read_checkpoint(state, portrait, optimizer, names)
    geometry = TrackGeometry(portrait.surface, portrait.binding, drive, model)
    laplacian, neighbours = MeshLaplacian(portrait.surface), Neighbours(portrait.surface, portrait.binding)

    frames = _frames(target, swap, drive, cfg.divisor(*target.window.size), cfg)
    if not curve.frames:
        if start is None or start.network.field.expression is None:
            _learn_expression(portrait, geometry, np.unique(chosen))
        if start is None:
            _lift_to_outline(portrait, model, target, swap, drive, np.unique(chosen))
        mark_hair(portrait, model, drive)
        few = _few(np.unique(chosen))
        begin_with_pictures(portrait, model, geometry, frames, few, rasterize, keep=start is not None)
    guiding = None if enlarged is None else GuidingFrames(enlarged, target, swap, drive, cfg)
    sides = Sides(portrait, model, drive)
    total = cfg.coarse_steps + cfg.fine_steps
    for step in range(len(curve.frames), total):
        if step >= cfg.coarse_steps and frames.divisor > 1:
            frames = _frames(target, swap, drive, 1, cfg)
        t = frame_of_step(chosen, step, cfg.seed)
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * rate_factor(step / total, cfg)
        optimizer.zero_grad(set_to_none=True)
        frame = frames[t]
        rendering = _render(portrait, geometry, frame, t, rasterize)
        losses = image_losses(rendering, frame)
        loss = _regularised(losses.total(cfg), step, portrait, laplacian, neighbours)
        if cfg.weight_sides and step % SIDES_EVERY == 0:
            random = np.random.default_rng((cfg.seed, step))
            loss = loss + SIDES_EVERY * cfg.weight_sides * sides.loss(geometry[t], random, rasterize)
        costly = costly_losses_due(step, total)
        if perceptual is not None and costly:
            loss = loss + cfg.weight_perceptual * perceptual(rendering.image, frame.image)
        if guiding is not None and costly:
            large = cut(guiding[t], np.random.default_rng((cfg.seed, step)))
            rendered = _render(portrait, geometry, large, t, rasterize)
            loss = loss + cfg.weight_guidance * guided_loss(rendered, large, cfg, perceptual)
        loss.backward()
        optimizer.step()
        if step % REGULARISE_EVERY == 0:
            limit_growth(portrait.network.field)
        portrait.visits[t] += 1
        curve.add(t, losses)
        done = step + 1
        if state is not None and (done % cfg.checkpoint_every == 0 or done == total):
            write_checkpoint(state, portrait, optimizer, names, curve)
        if on_preview is not None and (done % cfg.preview_every == 0 or done == total):
            on_preview(done, _sheet(portrait, geometry, frames, np.unique(chosen), rasterize))
        progress(done, total, f"loss {curve.terms[-1][0]:.4f}")
    return portrait


# ---------------------------------------------------------------- where it begins, what holds it
def _few(frames: Int[np.ndarray, "n"]) -> list[int]:
    """The frames that the fit begins from."""
    return frames[:: max(len(frames) // COLOR_FRAMES, 1)].tolist()


def _learn_expression(portrait: Portrait, geometry: TrackGeometry, frames: Int[np.ndarray, "n"]) -> None:
    """The components of the clip's expression, which a new portrait has yet to learn."""
    expression = portrait.network.field.expression
    if expression is not None:
        picked = frames[np.unique(np.linspace(0, len(frames) - 1, EXPRESSION_FRAMES).round().astype(int))]
        expression.learn([geometry[int(t)] for t in picked])


def _lift_to_outline(
    portrait: Portrait,
    model: BodyModel,
    target: TargetSet,
    swap: SwapSet,
    drive: BodyTrack,
    frames: Int[np.ndarray, "n"],
) -> None:
    """The outline of the hair, which a new portrait takes from the mattes before it sees a colour."""
    cfg = portrait.cfg
    if cfg.outline and cfg.vertex_offsets:
        pictures = (HeadPicture(t, swap.head[t], window_camera(target, drive, t)) for t in _few(frames))
        begin_at_outline(portrait, outline_offsets(portrait.surface, model, drive, pictures))


def _regularised(
    loss: Tensor, step: int, portrait: Portrait, laplacian: MeshLaplacian, neighbours: Neighbours
) -> Tensor:
    """The loss with the regularisers, which are due every few steps only and weigh the more for it."""
    field, cfg = portrait.network.field, portrait.cfg
    if step % REGULARISE_EVERY == 0:
        loss = loss + REGULARISE_EVERY * field_losses(field, laplacian, neighbours, cfg)
    if cfg.expressions and step % REGULARISE_MODES_EVERY == 0:
        loss = loss + REGULARISE_MODES_EVERY * mode_losses(field, laplacian, cfg)
    return loss


# ---------------------------------------------------------------- which frame, at what rate
def training_frames(drive: BodyTrack, model: BodyModel, cfg: FitConfig) -> Int[np.ndarray, "n"]:
    """The frames of an epoch: all that are tracked and not held out, rare expressions ``cfg.emphasis`` times.

    Raises:
        InputError: There is none.
    """
    usable = np.asarray(drive.valid, bool).copy()
    if cfg.hold_out:
        usable[cfg.hold_out // 2 :: cfg.hold_out] = False
    frames = np.flatnonzero(usable)
    if not len(frames):
        raise InputError("Expected at least one frame in which the person is tracked, found none.")
    action = {name: drive.actions[frames, i] for i, name in enumerate(model.action_names)}
    blinks = np.zeros(len(frames), bool)
    for name in BLINK:
        blinks |= action.get(name, np.zeros(len(frames))) > BLINK_LEVEL
    jaw = action.get(JAW_OPEN, np.zeros(len(frames)))
    wide = (jaw > JAW_LEVEL) & (jaw >= np.quantile(jaw, 0.9))
    rare = np.zeros(len(frames), bool)
    for kind in (blinks, wide):
        if kind.mean() <= RARE:
            rare |= kind
    return np.concatenate([frames, np.repeat(frames[rare], max(cfg.emphasis - 1, 0))])


def frame_of_step(frames: Int[np.ndarray, "n"], step: int, seed: int) -> int:
    """The frame that a step looks at: a new random order every epoch, the same for the same seed.

    Runs of :data:`RUN` frames are gone through :data:`PASSES` times each: reading a frame costs as much as a third of a
    step, and a run of them fits into the cache whatever the length of the clip.
    """
    epoch, position = divmod(step, PASSES * len(frames))
    order = np.random.default_rng((seed, epoch)).permutation(frames)
    number, position = divmod(position, PASSES * RUN)
    run = order[number * RUN : (number + 1) * RUN]
    turn, position = divmod(position, len(run))
    return int(np.random.default_rng((seed, epoch, number, turn)).permutation(run)[position])


def costly_losses_due(step: int, total: int) -> bool:
    """Whether this step has the perceptual loss and the guidance too.

    They come from a third of the steps on, when the portrait has its coarse shape and colours, and not every step.
    """
    return step >= total // 3 and step % COSTLY_EVERY == 0


def rate_factor(done: float, cfg: FitConfig) -> float:
    """Learning rates relative to their initial values after this share of the steps."""
    if done <= cfg.warm:
        return 1.0
    return cfg.final_rate ** ((done - cfg.warm) / (1 - cfg.warm))


# ---------------------------------------------------------------- parameters
def _trainable(network: nn.Module, cfg: FitConfig) -> dict[str, nn.Parameter]:
    frozen = set()
    if not cfg.offsets:
        frozen.add("field.offset")
    if not cfg.vertex_offsets:
        frozen |= {"field.delta", "field.delta_modes"}
    if not cfg.correct_pose:
        frozen.add("field.correction")
    if cfg.temporal == "none":
        frozen.add("field.condition")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return {name: parameter for name, parameter in network.named_parameters() if name not in frozen}


def _optimizer(names: dict[str, nn.Parameter], gaussians: int, cfg: FitConfig) -> torch.optim.Adam:
    rates = {
        "field.features": cfg.rate_features,
        "field.harmonics": cfg.rate_harmonics,
        "field.opacity_logit": cfg.rate_opacity,
        "field.log_scale": cfg.rate_scale,
        "field.rotation": cfg.rate_rotation,
        "field.offset": cfg.rate_offset,
        "field.delta": cfg.rate_delta,
        "field.delta_modes": cfg.rate_delta_modes,
        "field.feature_modes": cfg.rate_feature_modes,
        "field.condition": cfg.rate_condition,
        "field.correction": cfg.rate_correction,
    }
    groups = []
    for name, parameter in names.items():
        rate = rates.get(name, cfg.rate_networks)
        damping = cfg.damping * DAMPING.get(name, 0.0) / gaussians
        groups.append({"params": [parameter], "lr": rate, "base": rate, "eps": max(damping, 1e-15)})
    return torch.optim.Adam(groups, betas=(0.9, 0.99), fused=True)


def _adopt(portrait: Portrait, start: Portrait) -> None:
    """Take over what ``start`` has learned; its frames' own rows only if the track is the same."""
    same_track = start.track_digest == portrait.track_digest
    own = portrait.network.state_dict()
    for name, value in start.network.state_dict().items():
        rows = name in ("field.condition", "field.correction")
        if rows and not same_track:
            continue
        if name not in own or own[name].shape != value.shape:
            raise InputError(
                f"The portrait to refine does not fit the job ({name}).", hint="Use the same shape and configuration."
            )
        own[name].copy_(value)
    portrait.network.field.hold_to_present()


# ---------------------------------------------------------------- one frame
def _frames(target: TargetSet, swap: SwapSet, drive: BodyTrack, divisor: int, cfg: FitConfig) -> TrainingFrames:
    budget = cfg.cache_megabytes * 2**20
    return TrainingFrames(
        target,
        swap,
        drive,
        divisor,
        least_confidence=cfg.least_confidence,
        budget=budget,
        upper_body=cfg.region == "upper-body",
    )


def _render(
    portrait: Portrait, geometry: TrackGeometry, frame: TrainingFrame, t: int, rasterize: Rasterizer
) -> Rendering:
    field, cfg = portrait.network.field, portrait.cfg
    return portrait.network(
        geometry[t],
        View(frame.plate, frame.gate, frame.camera),
        rasterize,
        condition=None if cfg.temporal == "none" else field.condition[t],
        correction=field.correction[t] if cfg.correct_pose else None,
    )


@torch.no_grad()
def _sheet(
    portrait: Portrait, geometry: TrackGeometry, frames: TrainingFrames, chosen: np.ndarray, rasterize: Rasterizer
) -> RgbImage:
    picked = chosen[np.linspace(0, len(chosen) - 1, min(4, len(chosen))).astype(int)]
    shown = [(frames[int(t)], _render(portrait, geometry, frames[int(t)], int(t), rasterize)) for t in picked]
    return preview_sheet(shown)
