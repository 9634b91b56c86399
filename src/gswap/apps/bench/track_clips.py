"""The synthetic clips of ``gswap bench track``, rendered once into a folder with everything that is true about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Int

from gswap.foundation.errors import InputError
from gswap.foundation.store import (
    PngStore,
    encode_png,
    read_arrays,
    read_body_track,
    read_json,
    read_png,
    write_arrays,
    write_body_track,
    write_bytes,
    write_json,
)
from gswap.foundation.types import BodyTrack, Progress, RgbImage, SoftMask, no_progress
from gswap.people.clips import join_tracks
from gswap.people.motion import Motion, MotionConfig, make_motion
from gswap.people.person import Person, make_person
from gswap.people.render import SyntheticFrame, render
from gswap.people.scene import Scene, make_scene

FPS = 20.0
MASKS = ("head", "neck", "person")
_VERSION = 1
"""Of the stored files; raise it when the clips change."""


@dataclass(frozen=True)
class Member:
    """Somebody of the cast, and how they are filmed."""

    name: str
    seed: int
    traits: Mapping[str, object]
    size: int = 512
    """Side of the square picture, pixels."""
    head: float = 0.44
    """Height of the head in image heights."""
    yaw: float = 30.0
    """How far the head turns, degrees."""
    noise: float = 1.2
    """Sensor noise, 8-bit levels."""
    crf: int = 20
    """Quality of the H.264 compression."""
    wide_mouth: bool = False
    walk: float = 0.0
    """How far the person steps to both sides, metres."""
    pan: int = 0
    """How far the camera pans to both sides, pixels."""
    graded: bool = True
    """Whether pose, shape and masks count; the clip with the moving camera is there for the plate only."""


CAST: tuple[Member, ...] = (
    Member("long", 501, {"sex": "female", "style": "long", "glasses": False}),
    Member("turning", 502, {"sex": "male", "style": "short"}, yaw=60, noise=2.0, crf=24),
    Member("bob", 503, {"sex": "female", "style": "bob", "glasses": False}, head=0.5, crf=26),
    Member("bald", 504, {"sex": "male", "style": "bald"}, wide_mouth=True),
    Member("curly", 505, {"sex": "female", "style": "curly", "glasses": True}, head=0.4, yaw=60),
    Member("buzz", 506, {"sex": "male", "style": "buzz"}, head=0.5, yaw=20, wide_mouth=True, noise=3.0),
    Member("tied", 507, {"sex": "female", "style": "back", "age": 0.62}, size=640, head=0.55, yaw=35),
    Member("glasses", 508, {"sex": "male", "style": "curly", "glasses": True}, yaw=40, crf=28),
    Member("old", 509, {"sex": "female", "style": "long", "age": 0.95}),
    Member("large", 510, {"sex": "male", "style": "short", "age": 0.95}, size=832, head=0.75, yaw=25),
    Member("small", 511, {"sex": "female", "style": "short"}, head=0.24, yaw=40, noise=3.0),
    Member("far", 512, {"sex": "male", "style": "back"}, head=0.16, yaw=30, noise=3.0, crf=26),
    Member("pan", 503, {"sex": "female", "style": "bob", "glasses": False}, pan=36, walk=0.1, graded=False),
)
"""Both sexes, ages, hair from none to long; faces of 60 to 500 pixels; yaw to 60 degrees; noise and compression."""


@dataclass(frozen=True)
class TrueClip:
    """A rendered clip. Images are read from disk one at a time."""

    member: Member
    folder: Path
    body: BodyTrack
    landmarks: Float[np.ndarray, "t 478 2"]
    """True landmarks, pixels."""
    pan: Int[np.ndarray, "t"]
    """Left edge of the picture in ``plate``."""
    plate: RgbImage
    """The empty scene without noise; wider than the picture when the camera pans."""

    def __len__(self) -> int:
        return len(self.landmarks)

    @property
    def video(self) -> Path:
        """The compressed clip."""
        return self.folder / "clip.mp4"

    def mask(self, name: str, t: int) -> SoftMask:
        """True ``head``, ``neck`` or ``person`` of frame ``t``."""
        return PngStore(self.folder / name, len(self))[t]

    def empty(self, t: int) -> RgbImage:
        """What frame ``t`` would show without the person."""
        x = int(self.pan[t])
        return self.plate[:, x : x + self.member.size]


def load_or_render(folder: Path, member: Member, frames: int, progress: Progress = no_progress) -> TrueClip:
    """The clip of a member of the cast, rendered unless ``folder`` holds it already.

    Raises:
        InputError: The folder holds another version of the clip.
    """
    home = folder / member.name
    facts = {"version": _VERSION, "frames": frames, "member": repr(member)}
    marker = home / "facts.json"
    if not marker.exists():
        _render(home, member, frames, progress)
        write_json(marker, facts)
    elif read_json(marker) != facts:
        raise InputError("The rendered clip is another version's.", hint="Remove the folder.", path=home)
    arrays, _ = read_arrays(home / "truth.safetensors")
    body = read_body_track(home / "body.safetensors")
    return TrueClip(member, home, body, arrays["landmarks"], arrays["pan"], read_png(home / "plate.png"))


def _render(home: Path, member: Member, frames: int, progress: Progress) -> None:
    from gswap.media.config import EncodeConfig
    from gswap.media.write import encode_rgb

    home.mkdir(parents=True, exist_ok=True)
    person, scene, motion = stage(member, frames)
    width = member.size + 2 * member.pan
    sweep = np.sin(2 * np.pi * np.arange(frames) / frames)
    pan = np.round(member.pan * (1 + sweep)).astype(np.int64)
    stores = {name: PngStore(home / name, frames) for name in MASKS}
    truths: list[SyntheticFrame] = []
    marks = []

    def pictures() -> Iterator[RgbImage]:
        for t in range(frames):
            pose = motion[t]
            x, y, z = pose.shift
            pose = replace(pose, shift=(x + member.walk * float(np.cos(2 * np.pi * t / frames)), y, z))
            frame = render(person, pose, scene, (width, member.size), frame=t)
            part = slice(int(pan[t]), int(pan[t]) + member.size)
            for name in MASKS:
                stores[name].write(t, np.ascontiguousarray(getattr(frame.masks, name)[:, part]))
            truths.append(replace(frame, rgb=frame.rgb[:1], plate=frame.plate[:1]))
            marks.append(frame.landmarks - (pan[t], 0))
            progress(t + 1, frames, member.name)
            yield np.ascontiguousarray(frame.rgb[:, part])

    encode_rgb(home / "clip.mp4", pictures(), (int(FPS), 1), options=EncodeConfig(crf=member.crf))
    quiet = render(person, motion[0], replace(scene, noise=0.0), (width, member.size), 1)
    write_bytes(home / "plate.png", encode_png(quiet.plate))
    write_body_track(home / "body.safetensors", join_tracks(truths))
    write_arrays(home / "truth.safetensors", {"landmarks": np.array(marks), "pan": pan})


def stage(member: Member, frames: int) -> tuple[Person, Scene, Motion]:
    """Who acts where, and how."""
    person = make_person(member.seed, **member.traits)
    scene = make_scene(member.seed, head_fraction=member.head, noise=member.noise)
    config = MotionConfig(yaw=member.yaw, pitch=9.0, sway=8.0, wide_mouth=member.wide_mouth)
    return person, scene, make_motion(member.seed, frames, FPS, config)


# ---------------------------------------------------------------- two people who cross
@dataclass(frozen=True)
class Crossing:
    """Two people walk past each other; the first is in front."""

    seeds: tuple[int, int] = (521, 522)
    frames: int = 48
    size: tuple[int, int] = (640, 360)
    head: float = 0.3
    reach: float = 0.32
    """How far both walk from the middle, metres."""
    behind: float = 0.8
    """Size of the person behind over that of the one in front."""
    traits: tuple[Mapping[str, object], ...] = field(
        default=({"sex": "male", "style": "short"}, {"sex": "female", "style": "bob"})
    )


def load_or_render_crossing(
    folder: Path, crossing: Crossing, progress: Progress = no_progress
) -> tuple[Path, Float[np.ndarray, "2 t 478 2"]]:
    """The clip of two people who cross, and the true landmarks of the one in front and of the one behind."""
    from gswap.media.write import encode_rgb

    home = folder / "crossing"
    marker, video = home / "truth.safetensors", home / "clip.mp4"
    if not marker.exists():
        home.mkdir(parents=True, exist_ok=True)
        marks = np.empty((2, crossing.frames, 478, 2))
        encode_rgb(video, _crossing_frames(crossing, marks, progress), (int(FPS), 1))
        write_arrays(marker, {"landmarks": marks})
    return video, read_arrays(marker)[0]["landmarks"]


def _crossing_frames(crossing: Crossing, marks: np.ndarray, progress: Progress) -> Iterator[RgbImage]:
    people = [make_person(s, **t) for s, t in zip(crossing.seeds, crossing.traits, strict=True)]
    front = make_scene(crossing.seeds[0], "room", head_fraction=crossing.head)
    back = replace(front, head_fraction=crossing.head * crossing.behind)
    motions = [make_motion(s, crossing.frames, FPS, MotionConfig(yaw=12)) for s in crossing.seeds]
    for t in range(crossing.frames):
        way = crossing.reach * (2 * t / (crossing.frames - 1) - 1)
        frames = []
        for k, scene in enumerate((front, back)):
            pose = motions[k][t]
            place = (pose.shift[0] + (way if k == 0 else -way), *pose.shift[1:])
            frames.append(render(people[k], replace(pose, shift=place), scene, crossing.size, frame=t))
            marks[k, t] = frames[k].landmarks
        near, far = frames
        share = near.masks.person.astype(np.float32)[..., None] / 255
        # The picture in front is its person over the empty scene; that scene gives way to the person behind.
        mixed = near.rgb + (1 - share) * (far.rgb.astype(np.float32) - near.plate)
        progress(t + 1, crossing.frames, "crossing")
        yield cv2.convertScaleAbs(np.clip(mixed, 0, 255))
