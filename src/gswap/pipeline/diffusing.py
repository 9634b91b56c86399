"""The swap step with the paper's generator: which parts do what, and where each result lies in the step's folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from gswap.foundation import weights
from gswap.foundation.landmarks import CHIN
from gswap.foundation.protocols import BodyModel
from gswap.foundation.store import PngStore
from gswap.foundation.types import (
    BodyTrack,
    FaceTrack,
    Masks,
    PhotoSet,
    Progress,
    RgbImage,
    SoftMask,
    SwapFrame,
    TargetSet,
)
from gswap.perception.adapters.arcface import ArcFace
from gswap.perception.adapters.mediapipe import MediaPipeMatte
from gswap.perception.clip import landmarks_near
from gswap.pipeline.config import Job
from gswap.pipeline.masking import Subject
from gswap.pipeline.parts import GARMENT, LCM, chosen, digests, head_parser, identity_embedder, required_weights
from gswap.segmentation.adapters.parsing import with_parsed_head
from gswap.swap.diffusion.adapt import AdaptResult
from gswap.swap.diffusion.drawings import DRAWINGS
from gswap.swap.diffusion.models import BaseFolders, GeneratorFolders
from gswap.swap.diffusion.plan import InpaintPlan
from gswap.swap.diffusion.swapper import DiffusionSwapper, Photos, Tools, Verdict, swap_frame
from gswap.swap.embedded.swapper import EmbeddedSwapper
from gswap.swap.mask_warp import Landmarks2, Reenactor
from gswap.swap.reenact import EmbeddedReenactor

CONDITION = "arcface-arc2face"
"""The face recogniser whose vectors Arc2Face's prompt is made of; no other fits."""


@dataclass(frozen=True)
class Cast:
    """Both people of a job, as the steps before have found them."""

    target: TargetSet
    faces: FaceTrack
    body: BodyTrack
    photos: PhotoSet
    photo_faces: FaceTrack
    photo_body: BodyTrack
    model: BodyModel

    @property
    def frames(self) -> list[int]:
        """Frames with the person."""
        return np.flatnonzero(self.body.valid & self.faces.valid).tolist()


@dataclass(frozen=True)
class Painted:
    """I_gen by the generator."""

    frame: Callable[[int], SwapFrame]
    dropped: tuple[int, ...]
    """Frames that the portrait must not learn from."""
    facts: dict[str, object]
    """For the report; the same for the same job."""


def painter_config(job: Job) -> dict[str, object] | None:
    """What I_gen by the generator depends on; ``None`` where another swapper makes it."""
    if job.parts.swapper != "diffusion":
        return None
    more = (LCM, GARMENT, f"controlnet-{job.parts.controlnet}", "liveportrait")
    own = [name for name in required_weights(job) if name in more]
    return {
        "settings": job.settings.diffusion,
        "parts": chosen(job.parts, "swapper", "identity", "parser"),
        "weights": digests(own),
        "reenactor": job.parts.reenactor,
        "seed": job.seed,
        "device": job.device,
        "threads": job.threads,
    }


def generator_folders(job: Job) -> GeneratorFolders:
    """Where the generator's parts lie.

    Raises:
        WeightsError: One is missing (the sentence says what to pull).
    """
    base, arc2face = weights.path("stable-diffusion-v1-5"), weights.path("arc2face")
    return GeneratorFolders(
        unet=arc2face / "arc2face",
        text_encoder=arc2face / "encoder",
        controlnet=weights.path(f"controlnet-{job.parts.controlnet}"),
        vae=base / "vae",
        tokenizer=base / "tokenizer",
        scheduler=base / "scheduler",
        fast=weights.file(LCM) if job.settings.diffusion.sample.sampler == "lcm" else None,
    )


def base_folders(job: Job) -> BaseFolders | None:
    """Where Stable Diffusion itself lies, for the photos' garments; ``None`` where none are painted.

    Raises:
        WeightsError: Its UNet is missing (the sentence says what to pull).
    """
    if job.settings.diffusion.sources.clothes != "garment":
        return None
    base = weights.path("stable-diffusion-v1-5")
    return BaseFolders(
        unet=weights.path(GARMENT),
        text_encoder=base / "text_encoder",
        vae=base / "vae",
        tokenizer=base / "tokenizer",
        scheduler=base / "scheduler",
    )


def coarse_reenactor(job: Job, cast: Cast, swapper: EmbeddedSwapper) -> Reenactor:
    """The reenactor of a job; LivePortrait shows the photo that our swapper chose for the head."""
    if job.parts.reenactor == "embedded":
        return EmbeddedReenactor(swapper)
    from gswap.swap.adapters.liveportrait import LivePortrait, Sight

    find, parse = _finder(job), head_parser(job)

    def photo(t: int) -> tuple[RgbImage, Landmarks2]:
        base = swapper.choice(t)["base"]
        return cast.photos.rgb[base], cast.photo_faces.landmarks[base, :, :2]

    def frame(t: int) -> tuple[RgbImage, Landmarks2]:
        return cast.target.rgb[t], cast.target.window.to_work(t, cast.faces.landmarks[t])[:, :2]

    def head(image: RgbImage, landmarks: Float[np.ndarray, "478 3"]) -> SoftMask:
        parsed = None if parse is None else parse(image, landmarks).head
        if parsed is not None and parsed.any():
            return parsed
        with MediaPipeMatte() as matte:
            person = matte(image)
        person[int(landmarks[CHIN, 1]) :] = 0
        return person

    sight = Sight(lambda image, points: find([image], [points])[0], head)
    folder = weights.path("liveportrait")
    return LivePortrait(folder, photo, frame, sight, device=job.device, threads=job.threads)


def paint_clip(job: Job, cast: Cast, reenactor: Reenactor, folder: Path, progress: Progress) -> Painted:
    """Learn the photos, paint all frames, and segment the new heads.

    Args:
        job: The job.
        cast: Both people.
        reenactor: Makes the coarse reenactments.
        folder: The step's folder; what is there of an earlier run is used.
        progress: Told of every stage.
    """
    cfg = job.settings.diffusion
    draw = DRAWINGS[job.parts.controlnet]
    plan = InpaintPlan(cast.target, cast.faces, cast.frames, folder / "reenact", cfg, draw)
    plan.reenact(reenactor, progress)
    tools = Tools(
        folders=generator_folders(job),
        device=job.device,
        condition=ArcFace(weights.file(CONDITION), device=job.device, threads=job.threads),
        identity=identity_embedder(job),
        find_landmarks=_finder(job),
        base=base_folders(job),
    )
    photos = Photos(cast.photos, cast.photo_faces)
    swapper = DiffusionSwapper(plan, photos, tools, cfg, job.seed, folder)
    learnt = swapper.adapt(progress)
    verdicts = swapper.paint(progress)
    masks = _segment(job, cast, swapper, verdicts, folder, progress)

    def frame(t: int) -> SwapFrame:
        verdict = verdicts[t]
        image = swapper.painted(t, verdict.attempt)
        return swap_frame(plan, t, image, *masks(t), verdict.accepted, cfg.background)

    dropped = tuple(t for t, v in verdicts.items() if not v.accepted)
    return Painted(frame, dropped, _facts(verdicts, learnt, swapper.garments()))


def _facts(verdicts: dict[int, Verdict], learnt: AdaptResult, garments: list[str]) -> dict[str, object]:
    measured = [v.measure for v in verdicts.values() if v.accepted]
    return {
        **({"garments": garments} if garments else {}),
        "optimizer": learnt.optimizer,
        "steps": learnt.steps,
        "loss": [learnt.losses[0], learnt.losses[-1]] if learnt.losses else [],
        "validation": list(learnt.identities),
        "identity": round(float(np.median([m.identity for m in measured if m.identity is not None])), 4),
        "landmarks": round(float(np.median([m.landmarks for m in measured if m.landmarks is not None])), 4),
        "reseeded": sum(v.attempt > 0 for v in verdicts.values()),
        "dropped": [t for t, v in verdicts.items() if not v.accepted],
    }


def _finder(job: Job):
    """Landmarks of painted frames near where they should be."""

    def find(images: list[RgbImage], wanted: list[Landmarks2]) -> list[Float[np.ndarray, "478 3"] | None]:
        hints = {i: np.column_stack([points, np.zeros(len(points))]) for i, points in enumerate(wanted)}
        found = landmarks_near(images, hints, job.settings.perceive)
        return [found.get(i) for i in range(len(images))]

    return find


def _segment(
    job: Job, cast: Cast, swapper: DiffusionSwapper, verdicts: dict[int, Verdict], folder: Path, progress: Progress
) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Head and neck of the painted frames, found like the target's own but for the new head's shape and place."""
    count = len(cast.faces)
    stores = {name: PngStore(folder / "painted" / name, count) for name in ("head", "neck", "person")}
    frames = cast.frames
    if not all(t in store for t in frames for store in stores.values()):

        def image(t: int) -> RgbImage:
            return swapper.painted(t, verdicts[t].attempt)

        def stored(t: int) -> Masks:
            return Masks(*(stores[name][t] for name in ("head", "neck", "person")))

        subject = _painted_subject(job, cast, swapper)
        parse = head_parser(job)
        with MediaPipeMatte() as matte:
            segmenter = subject.segmenter(image, matte)
            for done, t in enumerate(frames, 1):
                if not all(t in store for store in stores.values()):
                    masks = subject.mask(t, segmenter, subject.sample(t, image(t), matte), stored)
                    if parse is not None:
                        masks = with_parsed_head(masks, parse(image(t), subject.landmarks(t)))
                    for name, store in stores.items():
                        store.write(t, getattr(masks, name))
                progress(done, len(frames), "masks of I_gen")
    return lambda t: (stores["head"][t], stores["neck"][t])


def _painted_subject(job: Job, cast: Cast, swapper: DiffusionSwapper) -> Subject:
    """The painted person: the photos' shape in the clip's poses, with the landmarks that the painter was to hit."""
    window = cast.target.window
    landmarks = np.array(cast.faces.landmarks)
    for t in cast.frames:
        points = swapper.plan.landmarks(t) / window.scale
        landmarks[t, :, :2] = points + np.array([window.x[t], window.y[t]])
    faces = dataclasses.replace(cast.faces, landmarks=landmarks)
    rest = cast.model.rest(cast.photo_body.shape)
    return Subject(faces, cast.body, cast.model, rest, window, job.settings.segment)
