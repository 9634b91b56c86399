"""Every constant of the image head swap. Lengths are in face widths (fw) or face heights (fh, chin to forehead)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

MouthSource = Literal["source", "target", "procedural"]


@dataclass(frozen=True)
class RetargetConfig:
    """How the target's expression is put on the source's face."""

    smoothing: float = 0.4
    """Temporal Gaussian over the target's lifted landmarks, frames."""
    neutral_share: float = 0.25
    """Share of the images that are averaged to the neutral face."""
    neutral_lid_percentile: float = 65.0
    """Lid opening, as a percentile over the images, that counts as the eyes at rest."""
    lid_scale: tuple[float, float] = (0.7, 1.4)
    """Limits of the ratio of natural lid openings, source over target."""
    lid_shut: tuple[float, float] = (0.42, 0.64)
    """Opening relative to the neutral at which the lids are shut, and from which they are left alone."""
    lid_coupling: float = 0.7
    """Share of a small difference between the two eyes' openings that is taken for the detector's error."""
    wink: tuple[float, float] = (0.4, 0.6)
    """Differences between the two openings, relative to the neutral, up to which they are coupled, and from which it
    is a wink."""
    lip_scale: tuple[float, float] = (0.6, 1.6)
    """Limits of the ratio of lip thicknesses, source over target."""
    philtrum: tuple[float, float] = (0.25, 1.0)
    """Limits of the share to which the skin between nose and upper lip may shorten."""
    thinnest_lip: float = 0.5
    """Share of its thickness to which the upper lip is thinned to leave room for it."""
    rolled_lip: float = 0.7
    """Share of the lips' thickness that a wide-open mouth loses at its corners; it keeps all of it in the middle."""
    rolled_gap: tuple[float, float] = (0.15, 0.45)
    """Mouth gaps, eye distances, between which that sets in."""


@dataclass(frozen=True)
class SelectConfig:
    """Which photo shows what. Costs are added; a switch costs its price once."""

    angle_base: float = 6.0
    """Degrees between the viewing directions that cost 1 when choosing the head's photo."""
    angle_part: float = 12.0
    """The same for eyes and mouth."""
    expression: float = 0.05
    """Mean landmark difference, in eye distances, that costs 1 (head)."""
    eyes: float = 0.04
    """The same around the eyes."""
    mouth: float = 0.06
    """The same around the mouth."""
    mouth_base: float = 0.15
    """The same for the mouth when choosing the head's photo."""
    too_open: float = 0.03
    """Gap of the photo's lips beyond 1.4 times the target's, in eye distances, that costs 1."""
    too_closed: tuple[float, float] = (1.5, 2.2)
    """Price of a mouth photo that is not open enough; the second when it shows teeth."""
    teeth: float = 6.0
    """Price of a mouth photo that is all teeth where the target shows none, or the reverse."""
    switch_base: float = 6.0
    """Price of a switch of the head's photo."""
    switch_eyes: float = 2.5
    """Price of a switch of the photo for the eyes."""
    switch_mouth: float = 1.2
    """Price of a switch of the photo for the mouth."""
    mirror: bool = True
    """Let mirrored photos stand in for a side of the head that no photo shows."""
    mirror_base: float = 1.5
    """Price of a mirrored photo for the head."""
    mirror_part: float = 1.0
    """Price of a mirrored photo for eyes or mouth."""
    leak: float = 0.01
    """How far a photo's matte sticks out above the head, against the other photos, that costs 1 (head)."""
    crossfade: float = 1.2
    """Gaussian over the one-hot choices, frames."""
    gap_enough: float = 0.75
    """A photo's mouth interior is used when its gap reaches this share of the wanted one."""
    angle_advice: float = 25.0
    """Degrees from the nearest photo beyond which another photo is asked for."""


@dataclass(frozen=True)
class MapConfig:
    """The dense map from output pixels to photo pixels."""

    falloff: float = 0.45
    """Reach of the face's residual motion outside the face (Gaussian), fw."""
    residual_blurs: tuple[float, ...] = (0.10, 0.05, 0.02)
    """Successive blurs of the residual outside the face, fw."""
    depth_reach: float = 0.2
    """Length over which the depth beyond the hair shell falls back to the head's centre plane, fw."""
    shell_limit: float = 1.9
    """Largest distance of the hair shell from the head's centre, in skull radii."""
    shell_onset: tuple[float, float] = (0.02, 0.25)
    """Distances from the face mesh between which the hair shell lifts off the skull, fw."""
    lip_withdrawal: float = 0.22
    """How far the photo's inner lips are moved outward when the target's mouth is wider open (share of the lip)."""
    lip_withdrawal_corner: float = 2.5
    """How much more of it near the corners, where the line between closed lips is broad and dark."""
    lid_withdrawal: float = 0.35
    """How far the photo's lid ring is moved off the eye when the target's eye is shut (share of the opening)."""
    photo_margin: float = 1.25
    """Photos are reduced until their face is this many times as wide as the target's largest."""


@dataclass(frozen=True)
class RelightConfig:
    """How much of the target's light the head adopts (log RGB)."""

    exposure: float = 0.6
    """Share of the difference of mean log brightness."""
    tint: float = 0.45
    """Share of the difference of tint that the whites of the eyes do not show."""
    tint_of_light: float = 0.9
    """Share of the difference of tint that they show, too."""
    shading: float = 0.7
    """Share of the difference of low-frequency shading inside the face."""
    shading_outside: float = 0.35
    """Part of that share that also acts outside the face."""
    shading_scale: float = 0.16
    """Gaussian that separates shading from texture, fw."""
    lit: float = 0.0
    """What shading is measured from: the face's mean (0) or what the light falls on (1)."""
    hard_light: tuple[float, float] = (0.12, 0.28)
    """Standard deviations of the target's shading (log) between which its light goes from soft to hard."""
    hard_exposure: float = 0.9
    """The exposure in hard light."""
    hard_shading: float = 0.9
    """The shading in hard light."""
    hard_outside: float = 0.85
    """The shading outside the face in hard light: it falls on hair and ears, too."""
    hard_scale: float = 0.14
    """The scale of shading in hard light, whose shadows have edges."""


@dataclass(frozen=True)
class TrimConfig:
    """What is cut from the photo's matte below the face: its neck, collar and hair that leaves the picture."""

    short_height: float = 0.28
    """Below this height over the chin, short-haired heads end at the jaw, fh."""
    tuft_height: float = 0.34
    """Up to this height light, colourless pixels outside the face are taken for collar, fh."""
    jaw_fade: tuple[float, float] = (0.02, 0.12)
    """The photo's neck fades out between these distances from the face, fh."""
    ear_fade: tuple[float, float] = (0.008, 0.028)
    """The same beside the jaw, fh."""
    defringe: float = 0.03
    """Width of the rim around jaw and ears whose colour is taken from further inside, fw."""


@dataclass(frozen=True)
class FallConfig:
    """How long hair goes on below a photo's lower border that cuts it."""

    widest: float = 0.1
    """Hair at the border that is narrower than this, in all, does not go on, fw."""
    narrowest: float = 0.04
    """Runs of hair, and gaps between them, narrower than this are none, fw."""
    clothes: float = 0.15
    """Share of the person at the border that is clothes, from which the hair lies on them."""
    last: float = 0.03
    """Rows over the border that give its colours and matte, fw."""
    band: float = 0.25
    """Rows over the border that give the direction and the texture of the strands, fw: below most earrings."""
    mixed: float = 0.008
    """Pixels this close to skin or background have their colours in them, fw."""
    falls: float = 0.3
    """Share of that band that is hair in a column whose hair goes on: the chin's shadow has hardly any over it."""
    lock: float = 0.025
    """Gaussian that separates strands from the hair's colour, fw."""
    alike: float = 0.08
    """Gaussian across the hair over which strands have one direction, fw."""
    steepest: float = 0.4
    """Largest slope of the strands at the border, sideways per downwards."""
    straightens: float = 0.25
    """Way on which strands turn downwards (to 1/e), fw."""
    wave: float = 0.015
    """How far the hair sways sideways on its way down, fw."""
    wave_length: float = 0.7
    """Length of such a wave, fw."""
    below_chin: float = 1.1
    """Where hair behind the clothes ends, below the chin, fw: lower than most shoulders."""
    least_length: float = 0.5
    """Least length below the border, and that of hair on the clothes, fw."""
    taper: float = 0.25
    """How much narrower the hair is at its end."""
    uneven: float = 0.3
    """By which share of the length strands differ."""
    thins: float = 0.4
    """Share of its length on which hair thins out to its tips."""
    stretch: float = 1.3
    """How much longer than in the photo the texture is along the strands."""
    aside: float = 0.04
    """How far aside the texture is taken each time that it begins anew, fw (times up to 2.3)."""
    shade: float = 0.8
    """How dark the hair becomes towards neck and clothes."""
    shaded: float = 0.6
    """Way to there, fw."""
    shadow: float = 0.4
    """How dark hair is behind the neck."""
    inset: float = 0.04
    """How far behind the outer hair the hair behind the neck begins, fw."""
    cheek: float = 0.4
    """How far over the chin it begins, fw."""
    dives: tuple[float, float] = (0.2, 0.05)
    """Distances over the border from which hair begins to lie behind the clothes, and does, fw."""


@dataclass(frozen=True)
class SwapConfig:
    """The embedded image head swapper (III-B without weights)."""

    mouth: MouthSource = "target"
    """Where the inside of the mouth comes from when no photo is open enough: the photo's own teeth at their natural
    size over a painted cavity, the target's mouth, or a wholly painted one. A job takes `--mouth`."""
    crop: tuple[float, float, float] = (1.0, 1.0, 0.9)
    """Head crop around the face mesh: sideways in fw; up and down in fh."""
    crop_long_hair: float = 1.6
    """How far down it reaches for hair that falls below the jaw, fh."""
    calibrate: bool = True
    """Correct how far lids and lips are moved by what the landmark detector reads off some frames of I_gen."""
    occluders: bool = True
    """Keep things in front of the target's face (they are where its masks leave the head out) in front."""
    retarget: RetargetConfig = field(default_factory=RetargetConfig)
    select: SelectConfig = field(default_factory=SelectConfig)
    map: MapConfig = field(default_factory=MapConfig)
    relight: RelightConfig = field(default_factory=RelightConfig)
    trim: TrimConfig = field(default_factory=TrimConfig)
    fall: FallConfig = field(default_factory=FallConfig)
