"""Clips with sound and photos of synthetic people, as files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from gswap.foundation.errors import UsageError
from gswap.foundation.store import atomic_path
from gswap.foundation.types import BodyTrack, Progress, no_progress
from gswap.people.motion import RESTING_LIDS, Motion, MotionConfig, Pose, make_motion
from gswap.people.person import Person, make_person
from gswap.people.render import SyntheticFrame, render
from gswap.people.scene import Scene, make_scene
from gswap.people.sound import SAMPLE_RATE, synthesize
from gswap.people.swap import true_swap

Size = int | tuple[int, int]
DEMO_SOURCE, DEMO_TARGET = 241, 234
"""Two people who look good, differ clearly, and whose necks are bare."""


def render_motion(
    person: Person, motion: Motion, scene: Scene, size: Size, frames: range | None = None
) -> Iterator[SyntheticFrame]:
    """The frames of a clip with their truth, one at a time."""
    for i in frames if frames is not None else range(len(motion)):
        yield render(person, motion[i], scene, size, frame=i)


def join_tracks(frames: list[SyntheticFrame]) -> BodyTrack:
    """The truth of several frames of one person as one track.

    Raises:
        UsageError: There is no frame.
    """
    if not frames:
        raise UsageError("Expected at least one frame to join, got none.")
    tracks = [f.track for f in frames]
    names = ("focal", "rotation", "translation", "neck", "eyes", "actions", "valid", "confidence", "residual", "sizes")
    return BodyTrack(tracks[0].shape, **{n: np.concatenate([getattr(t, n) for t in tracks]) for n in names})


def write_clip(
    person: Person, motion: Motion, scene: Scene, path: Path, size: Size, progress: Progress = no_progress
) -> Path:
    """Render a motion to a video with its voice; the ending of ``path`` chooses the container.

    Width and height must be even (4:2:0 video).
    """
    from gswap.media.write import encode_rgb

    rate = Fraction(motion.fps).limit_denominator(1001)

    def pictures() -> Iterator[np.ndarray]:
        for i, frame in enumerate(render_motion(person, motion, scene, size)):
            progress(i, len(motion))
            yield frame.rgb

    with TemporaryDirectory() as folder:
        voice = Path(folder) / "voice.m4a"
        _write_voice(synthesize(motion.speech, person.traits.sex, person.traits.seed), voice)
        encode_rgb(path, pictures(), (rate.numerator, rate.denominator), audio_from=voice)
    progress(len(motion), len(motion))
    return path


def _write_voice(samples: np.ndarray, path: Path) -> None:
    """Mono AAC."""
    import av

    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono", options={"flags": "+bitexact"})
        stream.bit_rate = 96_000
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def _pair(name: str, value: float) -> dict[str, float]:
    return {name + "Left": value, name + "Right": value}


_REST = _pair("eyeBlink", RESTING_LIDS)
_SMILE = _pair("mouthSmile", 0.8) | _pair("cheekSquint", 0.45) | _REST
PHOTO_POSES: tuple[Pose, ...] = (
    Pose(actions=_REST),
    Pose(yaw=4, pitch=-2, roll=3, gaze=(-3, 1), actions=_SMILE | _pair("mouthUpperUp", 0.45) | {"jawOpen": 0.12}),
    Pose(yaw=28, gaze=(-14, 0), actions=_REST),
    Pose(yaw=-28, gaze=(14, 0), actions=_REST),
    Pose(pitch=-3, actions=_REST | {"jawOpen": 0.75} | _pair("mouthLowerDown", 0.2)),
    Pose(yaw=-5, roll=-3, actions=_pair("eyeBlink", 1.0)),
    Pose(yaw=45, gaze=(-20, 0), actions=_REST),
    Pose(yaw=-45, gaze=(20, 0), actions=_SMILE),
    Pose(pitch=-16, gaze=(0, 8), actions=_REST),
    Pose(pitch=14, gaze=(0, -8), actions=_REST),
    Pose(yaw=12, actions=_REST | {"mouthPucker": 0.6, "mouthFunnel": 0.4}),
    Pose(yaw=-12, roll=4, actions=_REST | {"browInnerUp": 0.7, "jawOpen": 0.3} | _pair("browOuterUp", 0.7)),
)
"""Neutral, smile, both sides, open mouth, closed eyes, far sides, up, down, pursed lips, raised brows."""


def write_photos(person: Person, folder: Path, count: int = 8, size: Size = 512, seed: int = 0) -> list[Path]:
    """Photos of a person in different places and poses, as JPEG.

    Args:
        person: who.
        folder: created if absent; files are ``photo_00.jpg`` ...
        count: how many of :data:`PHOTO_POSES`, from the most useful one.
        size: of every photo, pixels.
        seed: of the places.

    Raises:
        UsageError: ``count`` is not between 1 and the number of poses.
    """
    from PIL import Image

    if not 1 <= count <= len(PHOTO_POSES):
        raise UsageError(f"Expected 1 to {len(PHOTO_POSES)} photos, got {count}.")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, pose in enumerate(PHOTO_POSES[:count]):
        scene = make_scene(1000 * seed + i, head_fraction=0.52)
        frame = render(person, pose, scene, size, frame=i)
        path = folder / f"photo_{i:02d}.jpg"
        with atomic_path(path) as part:
            Image.fromarray(frame.rgb).save(part, format="JPEG", quality=95, subsampling=0)
        paths.append(path)
    return paths


@dataclass(frozen=True)
class DemoInputs:
    """Inputs of a demo run and what is needed to render its true answer."""

    source: Path
    """Folder with photos of the source person."""
    target: Path
    """Clip of the target person."""
    source_person: Person
    target_person: Person
    scene: Scene
    motion: Motion
    size: Size

    def truth(self, frames: range | None = None) -> Iterator[SyntheticFrame]:
        """The true swapped frames: the source person's head on the target person's body, moving as in the clip."""
        return render_motion(
            true_swap(self.source_person, self.target_person), self.motion, self.scene, self.size, frames
        )


@dataclass(frozen=True)
class DemoConfig:
    """What a demo shows."""

    size: int = 320
    """Side of the clip, pixels (even)."""
    frames: int = 75
    """Length of the clip."""
    fps: float = 25.0
    """Frames per second."""
    photos: int = 8
    """Source photos."""
    photo_size: int = 512
    """Side of the photos, pixels."""
    seed_source: int = DEMO_SOURCE
    """Who gives the head."""
    seed_target: int = DEMO_TARGET
    """Who is in the clip."""
    yaw: float = 14.0
    """How far the target turns the head, degrees."""


def demo_inputs(folder: Path, config: DemoConfig | None = None, progress: Progress = no_progress) -> DemoInputs:
    """Make the inputs of a demo run in ``folder``: ``source/photo_*.jpg`` and ``target.mp4``."""
    c = config or DemoConfig()
    folder.mkdir(parents=True, exist_ok=True)
    source, target = make_person(c.seed_source), make_person(c.seed_target)
    scene = make_scene(c.seed_target, "studio", head_fraction=0.56)
    motion = make_motion(c.seed_target, c.frames, c.fps, MotionConfig(yaw=c.yaw))

    def after_photos(done: int, total: int, note: str = "") -> None:
        progress(done + c.photos, total + c.photos, note)

    write_photos(source, folder / "source", c.photos, c.photo_size, seed=c.seed_source)
    clip = write_clip(target, motion, scene, folder / "target.mp4", c.size, after_photos)
    return DemoInputs(folder / "source", clip, source, target, scene, motion, c.size)
