"""The paper's image head swap (Sec. III-B) over a clip: learn the photos, paint the frames, keep the good ones.

Everything is stored as it is made; a run that was stopped goes on with the frame (and the training step) it was at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from gswap.foundation.errors import ConfigError, InputError
from gswap.foundation.protocols import Embedder
from gswap.foundation.store import PngStore, read_json, write_json
from gswap.foundation.types import FaceTrack, PhotoSet, Progress, RgbImage, SoftMask, SwapFrame, no_progress
from gswap.swap.diffusion.adapt import BEST, CURVE, AdaptResult, adapt, encode_variants
from gswap.swap.diffusion.conditions import mean_identity
from gswap.swap.diffusion.config import Background, DiffusionConfig, SampleConfig
from gswap.swap.diffusion.garment import dress_photos, verdicts
from gswap.swap.diffusion.gate import Measure, best_attempt, cosine, landmark_error, least_identity, passes
from gswap.swap.diffusion.models import BaseFolders, Generator, GeneratorFolders, load_base, load_generator
from gswap.swap.diffusion.plan import InpaintPlan
from gswap.swap.diffusion.sample import SEED_STRIDE, paint, put_back
from gswap.swap.mask_warp import Landmarks2
from gswap.swap.sources import SourcePicture, clean_background, source_pictures

VALIDATION_FRAMES = 3
VALIDATION_STEPS = 10

FindLandmarks = Callable[[list[RgbImage], list[Landmarks2]], list[Float[np.ndarray, "478 3"] | None]]
"""Landmarks of the face in each image, which should be about where the second argument says, or ``None``."""


@dataclass(frozen=True)
class Tools:
    """The exchangeable parts of the swap."""

    folders: GeneratorFolders
    device: str
    condition: Embedder
    """The identity that the generator's prompt speaks of: Arc2Face's own ArcFace."""
    identity: Embedder
    """The identity that frames are judged by."""
    find_landmarks: FindLandmarks
    base: BaseFolders | None = None
    """Paints the photos' garments; only for ``clothes = "garment"``."""


@dataclass(frozen=True)
class Photos:
    """The source photos with their landmarks."""

    images: PhotoSet
    faces: FaceTrack


@dataclass(frozen=True)
class Verdict:
    """What became of a frame."""

    attempt: int
    accepted: bool
    measure: Measure


class DiffusionSwapper:
    """One clip and one set of photos.

    Args:
        plan: The clip's frames, with their reenactments made.
        photos: The photos.
        tools: The parts.
        cfg: Settings.
        seed: Of the training and of the noise.
        folder: Where everything is kept.
    """

    def __init__(
        self, plan: InpaintPlan, photos: Photos, tools: Tools, cfg: DiffusionConfig, seed: int, folder: Path
    ) -> None:
        self.plan, self.photos, self.tools, self.cfg, self.seed = plan, photos, tools, cfg, seed
        self.folder = folder
        images = photos.images.rgb
        marks = photos.faces.landmarks
        self.condition = mean_identity(np.stack([tools.condition(im, marks[i]) for i, im in enumerate(images)]))
        self.identity = mean_identity(np.stack([tools.identity(im, marks[i]) for i, im in enumerate(images)]))
        self._adapter, self._garments = folder / "adapt", folder / "garments"
        self._generator: Generator | None = None

    # ------------------------------------------------------------ learn
    def adapt(self, progress: Progress = no_progress) -> AdaptResult:
        """Learn the photos, or go on learning them; a finished training is only read, and none is none."""
        curve = self._adapter / CURVE
        steps = self.cfg.adapt.step_count(len(self.photos.images.rgb))
        if steps == 0:
            return AdaptResult(0, (), ())
        if curve.exists():
            told = read_json(curve)
            return AdaptResult(told["steps"], tuple(told["loss"]), tuple(told["identity"]), told.get("optimizer", ""))
        self._adapter.mkdir(parents=True, exist_ok=True)
        cfg, pictures = self.cfg, self._sources(progress)
        generator = load_generator(self.tools.folders, self.tools.device)
        variants = encode_variants(generator, pictures, self._background(), cfg.adapt, self.seed, draw=self.plan.draw)
        chosen = self._spread(VALIDATION_FRAMES)

        def validate() -> float:
            quick = dataclasses.replace(cfg.sample, steps=min(VALIDATION_STEPS, cfg.sample.step_count()))
            painted = self._paint(generator, chosen, 0, dataclasses.replace(quick, sampler="dpm"))
            found = [m.identity for m in self.measure(painted).values()]
            return float(np.mean([0.0 if value is None else value for value in found]))

        return adapt(
            generator,
            variants,
            self.condition,
            cfg.adapt,
            steps=steps,
            seed=self.seed,
            folder=self._adapter,
            validate=validate if cfg.adapt.validate_every else None,
            progress=progress,
        )

    def garments(self) -> list[str]:
        """What became of the photos' clothes, where garments were painted."""
        return verdicts(self._garments)

    def _sources(self, progress: Progress) -> list[SourcePicture]:
        """The photos to learn from, in plain garments where that is wanted.

        Raises:
            ConfigError: Garments are wanted, and there is nothing that paints them.
        """
        cfg, base = self.cfg, self.tools.base
        pictures = source_pictures(self.photos.images, self.photos.faces.landmarks, cfg.mask.crop)
        if cfg.sources.clothes == "mask":
            return pictures
        if base is None:
            raise ConfigError("Expected the folders of Stable Diffusion for the photos' garments, found none.")
        return dress_photos(
            lambda: load_base(base, self.tools.device),
            pictures,
            cfg.sources,
            side=cfg.sample.side,
            seed=self.seed,
            folder=self._garments,
            progress=progress,
        )

    def _background(self) -> RgbImage:
        """The target's background in the middle of the clip."""
        t, target = self._spread(1)[0], self.plan.target
        return clean_background(target.plate[t], target.person[t], self.plan.frame(t).framing, self.cfg.sample.side)

    def _spread(self, count: int) -> list[int]:
        frames = self.plan.frames
        places = np.linspace(0, len(frames) - 1, count + 2)[1:-1].round().astype(int)
        return sorted({frames[int(k)] for k in places})

    # ------------------------------------------------------------ paint
    def paint(self, progress: Progress = no_progress) -> dict[int, Verdict]:
        """Paint every frame, once more with other noise where it failed, and say which are good.

        Raises:
            InputError: No frame is good enough.
        """
        cfg, frames = self.cfg, list(self.plan.frames)
        measures: dict[int, list[Measure]] = {t: [] for t in frames}
        pending, least = frames, np.inf
        for attempt in range(1 + cfg.gate.reseeds):
            found = self._attempt(pending, attempt, progress)
            for t, measure in found.items():
                measures[t].append(measure)
            if attempt == 0:
                least = least_identity(found, cfg.gate)
            pending = [t for t in pending if not passes(measures[t][-1], least, cfg.gate)]
            if not pending:
                break
        self._generator = None
        verdicts = {}
        for t in frames:
            number, accepted = best_attempt(measures[t], least, cfg.gate)
            verdicts[t] = Verdict(number, accepted, measures[t][number])
        if not any(v.accepted for v in verdicts.values()):
            raise InputError(
                "Expected generated frames that show the person of the photos, found none.",
                hint="Give more and sharper photos, or loosen the gate (--diffusion.gate.landmarks).",
            )
        return verdicts

    def painted(self, t: int, attempt: int) -> RgbImage:
        """A painted frame in its window."""
        return self._store(attempt)[t]

    def measure(self, painted: list[tuple[int, RgbImage]]) -> dict[int, Measure]:
        """Identity and pose of some painted frames."""
        wanted = [self.plan.landmarks(t) for t, _ in painted]
        found = self.tools.find_landmarks([image for _, image in painted], wanted)
        out = {}
        for (t, image), aim, points in zip(painted, wanted, found, strict=True):
            if points is None:
                out[t] = Measure(None, None)
            else:
                vector = self.tools.identity(image, points)
                out[t] = Measure(cosine(vector, self.identity), landmark_error(points, aim))
        return out

    def _store(self, attempt: int) -> PngStore:
        return PngStore(self.folder / f"attempt{attempt}", len(self.plan.target.rgb))

    def _attempt(self, frames: list[int], attempt: int, progress: Progress) -> dict[int, Measure]:
        """Paint and measure some frames in fixed batches, so that a stopped run goes on with the same batches."""
        store, notes = self._store(attempt), self.folder / f"measure{attempt}"
        notes.mkdir(parents=True, exist_ok=True)
        size = self.cfg.sample.batch
        for start in range(0, len(frames), size):
            batch = frames[start : start + size]
            if not all((notes / f"{t:06d}.json").exists() for t in batch):
                painted = self._paint(self._tuned(), batch, attempt, self.cfg.sample)
                for t, image in painted:
                    store.write(t, image)
                for t, measure in self.measure(painted).items():
                    write_json(notes / f"{t:06d}.json", dataclasses.asdict(measure))
            progress(min(start + size, len(frames)), len(frames), f"inpainting, attempt {attempt + 1}")
        return {t: Measure(**read_json(notes / f"{t:06d}.json")) for t in frames}

    def _tuned(self) -> Generator:
        """The generator with what it learnt; loaded once, and only when something is left to paint."""
        if self._generator is None:
            learnt = None if self.cfg.adapt.method == "none" else self._adapter / BEST
            self._generator = load_generator(
                self.tools.folders,
                self.tools.device,
                adapter=learnt,
                fast=self.cfg.sample.sampler == "lcm",
                compiled=self.cfg.compile,
            )
        return self._generator

    def _paint(
        self, generator: Generator, frames: Sequence[int], attempt: int, cfg: SampleConfig
    ) -> list[tuple[int, RgbImage]]:
        """A batch in its windows; a short batch is filled up, so that every picture is made in the same company."""
        planned = [self.plan.frame(t) for t in frames]
        canvases = [p.canvas for p in planned]
        canvases += [canvases[-1]] * (cfg.batch - len(canvases))
        pictures = paint(generator, canvases, self.condition, cfg, self.seed + attempt * SEED_STRIDE)
        out = []
        for t, p, picture in zip(frames, planned, pictures[: len(frames)], strict=True):
            feather = self.plan.pixels(p.framing, cfg.feather)
            out.append((t, put_back(self.plan.target.rgb[t], picture, p.framing, p.area, feather)))
        return out


def swap_frame(
    plan: InpaintPlan, t: int, painted: RgbImage, head: SoftMask, neck: SoftMask, accepted: bool, background: Background
) -> SwapFrame:
    """One frame of I_gen from a painted frame and the mattes of its head and neck.

    Args:
        plan: The clip's plan.
        t: The frame.
        painted: The painted frame in its window.
        head: Its new head.
        neck: Its new neck.
        accepted: Whether it may be learnt from; otherwise nothing in it is trusted.
        background: ``plate``: around the head lies our clean plate; ``generated``: what was painted there.
    """
    area, target = plan.area(t), plan.target
    head, neck = np.where(area, head, 0), np.where(area, neck, 0)
    behind = np.where(area[..., None], target.plate[t], target.rgb[t])
    rgb = painted
    if background == "plate":
        cover = (np.maximum(head, neck).astype(np.float32) / 255)[..., None]
        rgb = np.round(painted * cover + behind * (1 - cover)).astype(np.uint8)
        rgb = np.where(area[..., None], rgb, target.rgb[t])
    return SwapFrame(rgb, head, neck, behind, np.full(area.shape, 255 if accepted else 0, np.uint8))
