"""What a synthetic person is like: plain values, each drawn from its own random stream or set by the caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from gswap.foundation.errors import UsageError
from gswap.people.seeds import stream

Sex = Literal["female", "male"]
HairStyle = Literal["bald", "buzz", "short", "back", "bob", "long", "curly"]
Neckline = Literal["crew", "vee", "high", "shirt"]
HatKind = Literal["none", "beanie", "cap"]
Motif = Literal["plain", "stripes", "checks", "camouflage", "dots"]
Rgb = tuple[int, int, int]

SKIN_TONES: tuple[Rgb, ...] = (
    *((246, 214, 196), (236, 194, 170), (224, 176, 148), (206, 153, 120)),
    *((184, 128, 95), (150, 99, 70), (118, 75, 53), (88, 57, 43)),
)
"""Anchors from light to dark; a tone between 0 and 7 is interpolated."""
DARK_TONE = 3.6
HAIR_COLORS: tuple[Rgb, ...] = (
    *((26, 20, 18), (44, 30, 24), (74, 48, 32), (104, 68, 42), (150, 108, 66)),
    *((196, 158, 104), (140, 62, 32), (150, 148, 146), (214, 210, 204)),
)
GREY: Rgb = (150, 148, 146)
EYE_COLORS: tuple[Rgb, ...] = (
    *((70, 42, 24), (96, 62, 34), (110, 92, 50), (86, 112, 96), (92, 128, 160), (60, 84, 120)),
)
FABRICS: tuple[Rgb, ...] = (
    *((38, 44, 60), (150, 52, 50), (226, 222, 212), (66, 98, 142), (78, 108, 84)),
    *((104, 72, 108), (196, 160, 86), (92, 92, 96), (52, 96, 100), (128, 62, 84)),
)
TRIMS: tuple[Rgb, ...] = ((232, 228, 218), (34, 36, 46), (94, 120, 160), (176, 96, 78))
FRAMES: tuple[Rgb, ...] = ((20, 20, 22), (90, 50, 30), (40, 44, 90), (150, 120, 60))
FEMALE_STYLES: tuple[HairStyle, ...] = ("long", "long", "bob", "bob", "curly", "back", "short")
MALE_STYLES: tuple[HairStyle, ...] = ("short", "short", "buzz", "bald", "curly", "back")


@dataclass(frozen=True)
class Hair:
    """How the hair is grown. Lengths in metres."""

    style: HairStyle
    color: Rgb
    length: float
    """Strand length (short, curly, back)."""
    drop: float
    """Height of the ends above the chin (bob, long)."""
    volume: float
    """Thickness of the layer of hair."""
    part: float
    """Side of the parting, towards the person's left."""
    sweep: float
    """Sideways combing of short hair, -1 to 1."""
    wave: float
    """Amplitude of the waves."""
    fringe: bool
    recede: float
    """How far the hairline has gone back, as a fraction of the head's height."""


@dataclass(frozen=True)
class Traits:
    """Everything that tells one synthetic person from another. ``seed`` also fixes the face's small shape changes."""

    seed: int
    sex: Sex
    age: float
    """Anny's age phenotype: 0.67 is about 25 years, 1 is old."""
    muscle: float
    weight: float
    proportions: float
    skin_tone: float
    """0 (light) to 7 (dark)."""
    hair: Hair
    eye_color: Rgb
    brow_density: float
    """0 to 1."""
    stubble: float
    """0 to 1."""
    lip_tint: float
    """0 (bare) to 1 (made up)."""
    freckles: float
    glasses: bool
    frame_color: Rgb
    hat: HatKind
    """Nobody wears one unless asked to."""
    hat_color: Rgb
    neckline: Neckline
    motif: Motif
    fabric: Rgb
    trim: Rgb
    motif_scale: float
    """Repeats per metre."""


def draw_traits(seed: int, **overrides: Any) -> Traits:
    """Random traits, each from its own stream; ``overrides`` names fields of :class:`Traits` or :class:`Hair`.

    ``style`` is accepted for :attr:`Hair.style`, ``hair_color`` for :attr:`Hair.color`. What depends on an overridden
    trait (the hair style on the sex, the hair colour on the skin tone) is drawn to match it.

    Raises:
        UsageError: an override is not a field, or a choice does not exist.
    """
    given: dict[str, Any] = dict(overrides)

    def pick(name: str, draw: Callable[[np.random.Generator], Any]) -> Any:
        return given.pop(name) if name in given else draw(stream(seed, name))

    sex: Sex = pick("sex", lambda r: get_args(Sex)[r.integers(2)])
    if sex not in get_args(Sex):
        raise UsageError(f"sex must be one of {get_args(Sex)}, not {sex!r}.")
    male = sex == "male"
    age = pick("age", lambda r: float(r.choice([r.uniform(0.6, 0.74), r.uniform(0.7, 0.92)])))
    tone = float(pick("skin_tone", lambda r: r.uniform(0, len(SKIN_TONES) - 1.01)))
    hair = _draw_hair(seed, male, float(age), tone, given)
    values: dict[str, Any] = {
        "seed": seed,
        "sex": sex,
        "age": float(age),
        "muscle": pick("muscle", lambda r: r.uniform(0.3, 0.6)),
        "weight": pick("weight", lambda r: r.uniform(0.25, 0.62)),
        "proportions": pick("proportions", lambda r: r.uniform(0.3, 0.8)),
        "skin_tone": tone,
        "hair": hair,
        "eye_color": pick("eye_color", lambda r: EYE_COLORS[r.integers(2 if tone > DARK_TONE else len(EYE_COLORS))]),
        "brow_density": pick("brow_density", lambda r: r.uniform(0.5, 1) if male else r.uniform(0.2, 0.6)),
        "stubble": pick("stubble", lambda r: float(r.choice([0, 0.15, 0.4, 0.75])) if male else 0.0),
        "lip_tint": pick("lip_tint", lambda r: 0.0 if male else float(r.choice([0.1, 0.25, 0.45]))),
        "freckles": pick("freckles", lambda r: float(r.choice([0, 0, 0.6])) if tone < 2.5 else 0.0),
        "glasses": pick("glasses", lambda r: bool(r.random() < 0.25)),
        "frame_color": pick("frame_color", lambda r: FRAMES[r.integers(len(FRAMES))]),
        "hat": given.pop("hat", "none"),
        "hat_color": pick("hat_color", lambda r: FABRICS[r.integers(len(FABRICS))]),
        "neckline": pick("neckline", lambda r: ("crew", "crew", "vee", "high", "shirt")[r.integers(5)]),
        "motif": pick("motif", lambda r: ("plain", "plain", *get_args(Motif)[1:])[r.integers(6)]),
        "fabric": pick("fabric", lambda r: FABRICS[r.integers(len(FABRICS))]),
        "trim": pick("trim", lambda r: TRIMS[r.integers(len(TRIMS))]),
        "motif_scale": pick("motif_scale", lambda r: r.uniform(20, 42)),
    }
    if given:
        known = sorted({f.name for f in fields(Traits)} | {f.name for f in fields(Hair)} | {"style", "hair_color"})
        raise UsageError(f"A person has no trait named {', '.join(sorted(given))}.", hint=f"Known: {', '.join(known)}.")
    for name, kind in (("neckline", Neckline), ("motif", Motif), ("hat", HatKind)):
        if values[name] not in get_args(kind):
            raise UsageError(f"{name} must be one of {get_args(kind)}, not {values[name]!r}.")
    return Traits(**values)


def _draw_hair(seed: int, male: bool, age: float, tone: float, given: dict[str, Any]) -> Hair:
    """Takes what it uses out of ``given``."""
    whole = given.pop("hair", None)
    if isinstance(whole, Hair):
        return whole

    def pick(name: str, draw: Callable[[np.random.Generator], Any]) -> Any:
        return given.pop(name) if name in given else draw(stream(seed, f"hair {name}"))

    styles = MALE_STYLES if male else FEMALE_STYLES
    style = pick("style", lambda r: styles[r.integers(len(styles))])
    if style not in get_args(HairStyle):
        raise UsageError(f"style must be one of {get_args(HairStyle)}, not {style!r}.")
    weights = np.array([0.1, 0.15, 0.18, 0.17, 0.13, 0.1, 0.07, 0.06, 0.04])

    def color(rng: np.random.Generator) -> Rgb:
        index = rng.integers(3) if tone > DARK_TONE else rng.choice(len(HAIR_COLORS), p=weights)
        drawn = HAIR_COLORS[index]
        if age <= 0.84:
            return drawn
        return tuple(round(0.6 * g + 0.4 * c) for g, c in zip(GREY, drawn, strict=True))  # type: ignore[return-value]

    spans = {"short": (0.04, 0.075), "curly": (0.05, 0.09), "back": (0.14, 0.17), "buzz": (0.006, 0.008)}
    drops = {"bob": (-0.03, 0.03), "long": (-0.2, -0.1)}
    volumes = {"short": (0.008, 0.018), "long": (0.006, 0.013), "bob": (0.008, 0.015), "back": (0.007, 0.009)}
    waves = {"long": (0.0, 0.005, 0.008), "bob": (0.0, 0.004)}
    recede = 0.03 if not male else 0.09 * max(age - 0.5, 0) / 0.4
    return Hair(
        style=style,  # type: ignore[arg-type]
        color=pick("hair_color", color),
        length=pick("length", lambda r: r.uniform(*spans.get(style, (0.07, 0.07)))),
        drop=pick("drop", lambda r: r.uniform(*drops.get(style, (0.0, 0.0)))),
        volume=pick("volume", lambda r: r.uniform(*volumes.get(style, (0.006, 0.006)))),
        part=pick("part", lambda r: float(r.choice([-0.03, 0.03, 0.0]))),
        sweep=pick("sweep", lambda r: float(r.choice([-0.8, 0.8, 0.3]))),
        wave=pick("wave", lambda r: float(r.choice(waves.get(style, (0.0,))))),
        fringe=bool(pick("fringe", lambda r: r.random() < 0.33)),
        recede=pick("recede", lambda r: r.uniform(0, recede)),
    )
