"""How a synthetic person moves: head, torso, gaze, blinks and a talking mouth, as functions of time and a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from gswap.foundation.geometry import matrix_to_rotvec, rotvec_to_matrix
from gswap.people.seeds import stream, wander
from gswap.people.speech import Speech, make_speech

RESTING_LIDS = 0.12
"""Lids cover the upper edge of the iris in a relaxed face; as an ``eyeBlink`` action."""
BLINK_SECONDS = (0.09, 0.06, 0.16)
"""Closing, closed, opening."""
EYE_RANGE = (28.0, 18.0)
"""Largest horizontal and vertical gaze angle, degrees."""


@dataclass(frozen=True)
class Pose:
    """One instant. Angles in degrees; yaw > 0 turns to the person's left, pitch > 0 looks down, roll > 0 leans left."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    """Head against torso."""
    torso_yaw: float = 0.0
    torso_roll: float = 0.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of the whole body, metres, camera axes."""
    gaze: tuple[float, float] = (0.0, 0.0)
    """Yaw and pitch of both eyes against the head."""
    actions: Mapping[str, float] = field(default_factory=dict)
    """Facial actions in [0, 1] by ARKit name; absent = 0."""


@dataclass(frozen=True)
class MotionConfig:
    """What a motion is made of."""

    yaw: float = 22.0
    """Amplitude of the head's sweep to both sides, degrees."""
    pitch: float = 6.0
    """Wandering of the head up and down, degrees."""
    roll: float = 5.0
    """Wandering of the head's tilt, degrees."""
    sway: float = 4.0
    """Wandering of the torso, degrees."""
    talk: float = 1.0
    """Loudness of the talking; 0 keeps the mouth still."""
    expression: float = 1.0
    """Strength of smiles and brow movements."""
    blink_every: float = 2.6
    """Mean time between blinks, seconds; 0 = never."""
    wide_mouth: bool = False
    """Opens the mouth as far as it goes now and then."""
    tempo: float = 1.0
    """Speed of the head and torso; 3 is agitated."""


@dataclass(frozen=True)
class Motion:
    """Poses at a constant frame rate and the utterance that moves the mouth."""

    poses: tuple[Pose, ...]
    fps: float
    speech: Speech

    def __len__(self) -> int:
        return len(self.poses)

    def __getitem__(self, index: int) -> Pose:
        return self.poses[index]


def angles_to_matrix(yaw: float, pitch: float, roll: float) -> Float[np.ndarray, "3 3"]:
    """Rotation by ``roll``, then ``pitch``, then ``yaw`` (degrees, signs as in :class:`Pose`)."""
    axes = np.radians([[0, -yaw, 0], [pitch, 0, 0], [0, 0, roll]])
    about_y, about_x, about_z = rotvec_to_matrix(axes)
    return about_y @ about_x @ about_z


def angles_to_rotvec(yaw: float, pitch: float, roll: float) -> Float[np.ndarray, 3]:
    """:func:`angles_to_matrix` as a rotation vector in radians."""
    return matrix_to_rotvec(angles_to_matrix(yaw, pitch, roll))


def make_motion(seed: int, frames: int, fps: float = 25.0, config: MotionConfig | None = None) -> Motion:
    """A talking head of ``frames`` frames: same seed and config, same motion."""
    c = config or MotionConfig()
    t = np.arange(frames) / fps
    speech = make_speech(seed, frames / fps, c.talk)

    def drift(name: str, hertz: float, amplitude: float) -> np.ndarray:
        return wander(seed, name, t * c.tempo, hertz, amplitude)

    period = max(frames / fps, 1e-3) if c.tempo == 1 else 4.0
    start = stream(seed, "sweep").uniform(0, 0.3)
    yaw = c.yaw * np.sin(2 * np.pi * t * c.tempo / period + start) + drift("yaw", 0.5, 0.15 * c.yaw)
    pitch, roll = drift("pitch", 0.45, c.pitch), drift("roll", 0.4, c.roll)
    torso_yaw, torso_roll = drift("torso yaw", 0.25, c.sway), drift("torso roll", 0.3, 0.4 * c.sway)
    shift = np.stack([drift("shift x", 0.3, 0.006), drift("shift y", 0.4, 0.002), 0 * t], 1) * c.sway / 4
    gaze = _gaze(seed, t, yaw, pitch)
    actions = _face(seed, t, c, speech)
    actions |= _lids(seed, t, c.blink_every, gaze[:, 1])
    poses = [
        Pose(
            float(yaw[i]),
            float(pitch[i]),
            float(roll[i]),
            float(torso_yaw[i]),
            float(torso_roll[i]),
            tuple(float(x) for x in shift[i]),  # type: ignore[arg-type]
            (float(gaze[i, 0]), float(gaze[i, 1])),
            {name: float(values[i]) for name, values in actions.items() if values[i] > 1e-3},
        )
        for i in range(frames)
    ]
    return Motion(tuple(poses), fps, speech)


def _gaze(seed: int, t: np.ndarray, yaw: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Fixations of 0.5 to 2 s joined by fast saccades, around a point that the head's turning half compensates."""
    rng = stream(seed, "gaze")
    ends = np.cumsum(rng.uniform(0.5, 2.0, int(t[-1] / 0.5) + 2 if len(t) else 1))
    targets = rng.normal(0, (6.0, 3.0), (len(ends) + 1, 2))
    targets[rng.random(len(targets)) < 0.5] = 0  # half of the time: at the camera
    where = np.searchsorted(ends, t)
    began = np.concatenate([[-1.0], ends])[where]
    done = np.clip((t - began) / 0.05, 0, 1)[:, None]
    fixation = targets[np.maximum(where - 1, 0)] * (1 - done) + targets[where] * done
    gaze = fixation + np.stack([-0.6 * yaw, -0.6 * pitch], 1)
    return np.clip(gaze, -np.array(EYE_RANGE), EYE_RANGE)


def _face(seed: int, t: np.ndarray, c: MotionConfig, speech: Speech) -> dict[str, np.ndarray]:
    mouth = speech.at(t)
    smile = np.clip(wander(seed, "smile", t, 0.25, 0.8), 0, 0.75) * c.expression
    brow = np.clip(wander(seed, "brow", t, 0.5, 0.8), 0, 1) * c.expression
    frown = np.clip(wander(seed, "frown", t, 0.35, 0.5), 0, 0.5) * c.expression
    jaw = mouth.jaw.copy()
    if c.wide_mouth:
        peaks = np.arange(0.9, t[-1] + 1 if len(t) else 0, 2.2)
        opening = np.exp(-0.5 * ((t[:, None] - peaks) / 0.22) ** 2).max(1, initial=0.0)
        jaw = np.maximum(jaw, 0.95 * opening)
    closed = mouth.pressed
    out = {
        "jawOpen": jaw,
        "mouthFunnel": 0.45 * mouth.rounded * (1 - closed),
        "mouthPucker": 0.3 * mouth.rounded,
        "browInnerUp": 0.5 * brow,
    }
    pairs = {
        "mouthStretch": 0.3 * mouth.spread,
        "mouthSmile": 0.75 * smile,
        "mouthUpperUp": (0.2 * mouth.spread + 0.1 * jaw) * (1 - closed),
        "mouthLowerDown": (0.3 * mouth.spread + 0.2 * jaw) * (1 - closed),
        "mouthPress": 0.35 * closed,
        "cheekSquint": 0.5 * smile,
        "browOuterUp": 0.5 * brow,
        "browDown": 0.4 * frown,
    }
    return out | {name + side: values for name, values in pairs.items() for side in ("Left", "Right")}


def _lids(seed: int, t: np.ndarray, every: float, gaze_pitch: np.ndarray) -> dict[str, np.ndarray]:
    rng = stream(seed, "blink")
    blink = np.zeros(len(t))
    closing, closed, opening = BLINK_SECONDS
    start = float(rng.uniform(0.3, 0.9)) if every > 0 else np.inf
    while len(t) and start < t[-1]:
        phase = t - start
        shape = np.interp(phase, [0, closing, closing + closed, closing + closed + opening], [0, 1, 1, 0])
        blink = np.maximum(blink, shape)
        start += float(rng.uniform(0.5, 1.5)) * every
    lids = np.clip(RESTING_LIDS + gaze_pitch * 0.008, 0, 0.3)  # lids follow the eyes up and down
    lids = np.maximum(lids, blink)
    return {"eyeBlinkLeft": lids, "eyeBlinkRight": lids}
