"""What is settled once for a clip: neutral faces, retargeted landmarks, photo choice, hair shell, colours."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import gaussian_filter1d

from gswap.foundation.errors import InputError
from gswap.foundation.landmarks import face_width, lid_opening, mouth_gap
from gswap.foundation.protocols import BodyModel
from gswap.foundation.types import BodyShape, BodyTrack, FaceTrack, PhotoSet, Shot, TargetSet
from gswap.swap.config import RelightConfig, SwapConfig
from gswap.swap.embedded.colouring import coloured
from gswap.swap.embedded.continued import continued
from gswap.swap.embedded.densemap import hair_shell
from gswap.swap.embedded.eyes import Eyeball, take_apart
from gswap.swap.embedded.lift import Lifted, leaders, lift, smooth_in_shots, valid_runs
from gswap.swap.embedded.mirror import join_people, mirror_people, mirror_photos, mirrored_landmarks
from gswap.swap.embedded.mouth import GAP_SHUT
from gswap.swap.embedded.outline import Head, Reach, leakage, usual_reach, without_leaks
from gswap.swap.embedded.photos import ReadyPhoto, equalise, ready_photos, teeth_share
from gswap.swap.embedded.relight import (
    Complexion,
    adopted_gain,
    common_complexion,
    for_light,
    light_hardness,
    measure_complexion,
)
from gswap.swap.embedded.retarget import EYES, Face, Retargeted, Similarity, align, neutral_face, retarget
from gswap.swap.embedded.select import Choice, Missing, MouthLook, Views, advise, choose, interior_fits, view_angles

COLOUR_SAMPLES = 20
"""Frames over which the target's complexion is averaged."""
APART = 1000.0
"""Frames between two shots."""
SHOWS_TEETH = 0.1
"""Share of a photo's mouth interior that is teeth, from which its teeth can be used."""
COLOUR_ADVICE = "add a photo in colour (the photos have none: the colour of skin, lips, eyes and hair is a guess)"
HAIR_ADVICE = (
    "add photos that show where the hair ends (the lower border of {} of {} photos cuts it; it goes on by guess)"
)
SHUT_EYE = 0.5
"""Lid opening relative to the neutral below which an eye counts as shut."""


@dataclass(frozen=True)
class Plan:
    """Everything about a clip and its photos that every frame uses."""

    frames: Lifted
    people: Lifted
    """The photos that are used."""
    photo_numbers: Int[np.ndarray, "n"]
    """Their numbers among all photos."""
    mirrored: Bool[np.ndarray, "n"]
    """Which of them are seen in a mirror."""
    to_target: Similarity
    posed: Retargeted
    choice: Choice
    looks: tuple[MouthLook, MouthLook]
    """Mouths of the frames and of the photos."""
    photos: tuple[ReadyPhoto, ...]
    eyes: tuple[tuple[Eyeball, ...], ...]
    """Of the photos."""
    shell: Head
    """The source's head with hair, target head frame."""
    gain: Float[np.ndarray, "3"]
    """Log gain that brings the source's complexion into the target's light."""
    light: RelightConfig
    """How much of the target's light the head adopts."""
    borrowed_lids: Float[np.ndarray, "t 2"]
    """How much of each shut lid no photo shows."""
    teeth_photo: int
    """Photo that shows the most teeth, -1 where none does."""
    advice: tuple[str, ...]
    long_hair: bool
    clock: Float[np.ndarray, "t"]
    """Time, frames: a repeated frame has that of the frame it repeats; far apart across a cut."""


@dataclass(frozen=True)
class Inputs:
    """What :func:`make_plan` reads."""

    target: TargetSet
    target_faces: FaceTrack
    target_body: BodyTrack
    photos: PhotoSet
    photo_faces: FaceTrack
    photo_body: BodyTrack
    model: BodyModel


def make_plan(inputs: Inputs, cfg: SwapConfig) -> Plan:
    """Settle what concerns the whole clip.

    Raises:
        InputError: No frame, or no photo, has a face.
    """
    frames, people, images, numbers = _read(inputs)
    shots = inputs.target_faces.shots
    runs = valid_runs(frames.valid, shots)
    first = leaders(np.asarray(inputs.target_faces.duplicate), runs)  # a repeated frame must stand still
    local = smooth_in_shots(frames.local, frames.valid, shots, cfg.retarget.smoothing)[first]
    target_neutral, source_neutral = (neutral_face(who, cfg.retarget) for who in (frames, people))
    to_target = align(source_neutral, target_neutral)
    neutral = to_target(source_neutral)
    posed = retarget(local, target_neutral, neutral, cfg.retarget)

    everybody, pictures = people, images
    if cfg.select.mirror:
        everybody = join_people(people, mirror_people(people, mirrored_landmarks(inputs.model)))
        pictures = _join_photos(images, mirror_photos(images))
    mirrored = np.arange(len(everybody.valid)) >= len(numbers)
    width = cfg.map.photo_margin * float(np.nanmax(face_width(frames.image)))
    skull = _skull(inputs.model, inputs.photo_body.shape)
    given = ready_photos(images, people, width, cfg.fall)
    outlines = _outlines(skull, people, given, mirrored, cfg)
    looks = (_look_of_frames(inputs.target, frames, local, runs), _look_of_photos(pictures, everybody))
    views = Views(view_angles(everybody, frames, to_target), mirrored, outlines.leaks)
    choice = choose(posed.local, to_target(everybody.local), neutral, views, looks, runs, cfg.select)
    kept = np.flatnonzero((choice.base + choice.eyes + choice.mouth)[frames.valid].max(0) > 0)
    choice, looks = choice.columns(kept).rows(first), (looks[0].rows(first), looks[1].rows(kept))
    everybody, pictures = _subset(everybody, kept), _subset_photos(pictures, kept)

    complexion = _complexion(inputs.target, frames)
    light = for_light(cfg.relight, light_hardness(_sampled(inputs.target, frames), cfg.relight))
    usual = None if outlines.usual is None else outlines.usual[kept]
    ready = ready_photos(pictures, everybody, width, cfg.fall)
    ready = without_leaks(ready, Reach.of_all(skull, everybody, ready), usual)
    ready, grey, guess = coloured(ready, complexion)
    main = int(np.bincount(choice.base[frames.valid].argmax(1), minlength=len(ready)).argmax())
    photos = tuple(continued(photo, cfg.fall) for photo in equalise(ready, main))
    own = common_complexion([measure_complexion(photo.foreground, photo.points) for photo in photos])

    lids = _borrowed_lids(posed, everybody, source_neutral, choice)
    missing = _missing(frames, looks, lids, view_angles(people, frames, to_target).min(1), cfg)
    teeth, shell = looks[1].teeth, outlines.shell
    return Plan(
        frames=frames,
        people=everybody,
        photo_numbers=np.tile(numbers, 2)[kept],
        mirrored=mirrored[kept],
        to_target=to_target,
        posed=posed,
        choice=choice,
        looks=looks,
        photos=photos,
        eyes=tuple(take_apart(photo.foreground, photo.points) for photo in photos),
        shell=replace(shell, vertices=to_target(shell.vertices), centre=to_target(shell.centre)),
        gain=adopted_gain(complexion, own, light),
        light=light,
        borrowed_lids=lids,
        teeth_photo=int(teeth.argmax()) if teeth.max() > SHOWS_TEETH else -1,
        advice=advise(missing, cfg.select) + ((COLOUR_ADVICE,) if grey and guess else ()) + _hair_advice(given),
        long_hair=images.long_hair,
        clock=_clock(first, shots),
    )


def _hair_advice(photos: list[ReadyPhoto]) -> tuple[str, ...]:
    cut = sum(photo.cut is not None for photo in photos)
    return (HAIR_ADVICE.format(cut, len(photos)),) if cut else ()


def _read(inputs: Inputs) -> tuple[Lifted, Lifted, PhotoSet, Int[np.ndarray, "n"]]:
    """The faces of the frames, and of the photos that show one; these photos and their numbers among all."""
    frames = lift(inputs.target_faces, inputs.target_body, inputs.model, inputs.target.window)
    everyone = lift(inputs.photo_faces, inputs.photo_body, inputs.model)
    if not frames.valid.any():
        raise InputError("Expected a face in the target, found none in any frame.")
    if not everyone.valid.any():
        raise InputError("Expected a face in the source photos, found none.", hint="Add a photo that shows the face.")
    numbers = np.flatnonzero(everyone.valid)
    return frames, _subset(everyone, numbers), _subset_photos(inputs.photos, numbers), numbers


@dataclass(frozen=True)
class _Outlines:
    """What the mattes of all photos together say about the source's head."""

    usual: Float[np.ndarray, "n k"] | None
    """Its usual reach in every picture, the mirrored ones too (:func:`usual_reach`)."""
    leaks: Float[np.ndarray, "n"]
    """How far each picture's matte sticks out of it (:func:`leakage`)."""
    shell: Head
    """The head with hair, source head frame."""


def _outlines(
    skull: Head, people: Lifted, photos: list[ReadyPhoto], mirrored: Bool[np.ndarray, "n"], cfg: SwapConfig
) -> _Outlines:
    reaches = Reach.of_all(skull, people, photos)
    usual = usual_reach(reaches, mirrored)
    own = None if usual is None else usual[: len(photos)]
    leaks = np.tile(leakage(reaches, own), 2)[: len(mirrored)]
    shell = hair_shell(skull, people, without_leaks(photos, reaches, own), cfg.map)
    return _Outlines(usual, leaks, shell)


def _clock(first: Int[np.ndarray, "t"], shots: tuple[Shot, ...]) -> Float[np.ndarray, "t"]:
    clock = first.astype(np.float64)
    for number, shot in enumerate(shots):
        clock[shot.start : shot.stop] += APART * number
    return clock


def _subset(people: Lifted, numbers: Int[np.ndarray, "n"]) -> Lifted:
    return Lifted(
        people.image[numbers],
        people.local[numbers],
        people.expression[numbers],
        people.strength[numbers],
        people.rotation[numbers],
        people.translation[numbers],
        tuple(people.cameras[i] for i in numbers),
        people.valid[numbers],
    )


def _subset_photos(photos: PhotoSet, numbers: Int[np.ndarray, "n"]) -> PhotoSet:
    def pick(images: tuple) -> tuple:
        return tuple(images[i] for i in numbers)

    return PhotoSet(
        pick(photos.rgb),
        pick(photos.head),
        pick(photos.person),
        pick(photos.alpha),
        pick(photos.foreground),
        photos.long_hair,
    )


def _join_photos(a: PhotoSet, b: PhotoSet) -> PhotoSet:
    return PhotoSet(
        a.rgb + b.rgb,
        a.head + b.head,
        a.person + b.person,
        a.alpha + b.alpha,
        a.foreground + b.foreground,
        a.long_hair,
    )


def _look_of_frames(target: TargetSet, frames: Lifted, local: np.ndarray, runs: list[tuple[int, int]]) -> MouthLook:
    gaps = mouth_gap(local)
    teeth = np.zeros(len(gaps))
    for t in np.flatnonzero(frames.valid & (np.nan_to_num(gaps) > GAP_SHUT)):
        teeth[t] = teeth_share(target.rgb[int(t)], frames.image[t])
    steady = teeth.copy()
    for start, stop in runs:
        steady[start:stop] = gaussian_filter1d(teeth[start:stop], 1.0, mode="nearest")
    return MouthLook(gaps, np.maximum(teeth, steady))


def _look_of_photos(photos: PhotoSet, people: Lifted) -> MouthLook:
    teeth = [teeth_share(image, points) for image, points in zip(photos.rgb, people.image, strict=True)]
    return MouthLook(mouth_gap(people.local), np.array(teeth))


def _skull(model: BodyModel, shape: BodyShape) -> Head:
    """The rigid head of a fitted body, relative to its head joint."""
    rest = model.rest(shape)
    vertices = rest.vertices - rest.joints[model.head_joint]
    on_head = (model.head_weight > 0.5) & (model.part == 0)
    faces = model.faces[on_head[model.faces].all(1)]
    used, compact = np.unique(faces, return_inverse=True)
    vertices = vertices[used]
    return Head(vertices, compact.reshape(-1, 3).astype(np.int32), np.median(vertices, axis=0))


def _sampled(target: TargetSet, frames: Lifted) -> list[tuple[np.ndarray, np.ndarray]]:
    """Some frames with their landmarks, spread over the clip."""
    numbers = np.flatnonzero(frames.valid)
    samples = numbers[:: max(1, len(numbers) // COLOUR_SAMPLES)]
    return [(target.rgb[int(t)], frames.image[t]) for t in samples]


def _complexion(target: TargetSet, frames: Lifted) -> Complexion:
    """Skin and eye whites over the clip."""
    return common_complexion([measure_complexion(image, points) for image, points in _sampled(target, frames)])


def _openings(local: np.ndarray, neutral: Face) -> Float[np.ndarray, "n 2"]:
    """Lid openings relative to the neutral face, right and left."""
    pairs = [lid_opening(local, side) / lid_opening(neutral, side) for side, _, _ in EYES]
    return np.stack(pairs, -1)


def _borrowed_lids(posed: Retargeted, people: Lifted, neutral: Face, choice: Choice) -> Float[np.ndarray, "t 2"]:
    shut = _openings(people.local, neutral) < SHUT_EYE
    return posed.closed * (1 - choice.eyes @ shut.astype(np.float64))


def _missing(
    frames: Lifted, looks: tuple[MouthLook, MouthLook], lids: np.ndarray, nearest: np.ndarray, cfg: SwapConfig
) -> Missing:
    open_mouth = frames.valid & (np.nan_to_num(looks[0].gap) > 0.05)
    open_mouth &= ~interior_fits(*looks, cfg.select).any(1)
    to_camera = np.einsum("tji,tj->ti", frames.rotation, -frames.translation)
    yaw = np.degrees(np.arctan2(-to_camera[:, 0], -to_camera[:, 2]))
    return Missing(open_mouth, frames.valid & (lids.max(1) > 0.5), nearest, yaw)
