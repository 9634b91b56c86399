"""What is measured, under which name, and what read it off the pictures.

A :class:`Measure` is its title *and* its reader: the same quantity read by ArcFace and by dlib are two measures, with
two titles. A table column holds one measure, so numbers of different readers cannot be ranked against each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from gswap.foundation.errors import InputError

Better = Literal["higher", "lower", "one"]
Group = Literal["paper", "own", "truth", "reference"]


@dataclass(frozen=True)
class Measure:
    """A column of a table."""

    slot: str
    """Key in the JSON; stand-ins have their own."""
    title: str
    better: Better
    group: Group
    explanation: str
    """One sentence for the reader of a report."""
    reader: str = ""
    """What read it: a network with its weights, or ours."""
    stands_for: str = ""
    """The paper's measure that it replaces where weights are missing; empty = it is what its title says."""
    unit: str = ""
    digits: int = 3

    @property
    def header(self) -> str:
        """Title with an arrow, as the paper prints it."""
        return f"{self.title} {dict(higher='↑', lower='↓', one='→1')[self.better]}"

    def show(self, value: float | None) -> str:
        """A number of this column, as text."""
        if value is None or value != value:
            return "–"
        if self.unit == "%":
            return f"{100 * value:.{self.digits}f}%"
        return f"{value:.{self.digits}f}"

    def worseness(self, value: float) -> float:
        """Larger = worse, whatever the direction of the measure."""
        return {"higher": -value, "lower": value, "one": abs(value - 1)}[self.better]


CSIM = Measure(
    "csim", "CSIM", "higher", "paper", "Mean cosine similarity of the face with every source photo.", "ArcFace"
)
AED = Measure(
    "aed",
    "AED",
    "lower",
    "paper",
    "Mean L1 distance of expression, eyelid and jaw parameters from the clip's.",
    "SMIRK",
)
APD = Measure("apd", "APD", "lower", "paper", "Mean L1 distance of head pose parameters from the clip's.", "SMIRK")
CLIP = Measure(
    "clip", "CLIP score", "higher", "paper", "Cosine similarity of CLIP embeddings of neighbouring frames.", "CLIP",
    unit="%", digits=2,
)  # fmt: skip
DLIB_SIMILARITY = Measure(
    "dlib_similarity", "ID similarity (dlib)", "higher", "paper",
    "1 = as near to the photos as they are to each other, 0 = as far as the person in the clip.",
    "dlib ResNet, calibrated", "CSIM",
)  # fmt: skip
BODY_AED = Measure(
    "body_aed", "AED (body fit)", "lower", "paper",
    "Mean L1 distance of 52 facial actions (jaw and lids among them) from the clip's.", "our landmark fit", "AED",
)  # fmt: skip
BODY_APD = Measure(
    "body_apd", "APD (body fit)", "lower", "paper",
    "Mean L1 distance of the head's rotation vector from the clip's, medians removed.",
    "our landmark fit", "APD", unit="rad", digits=4,
)  # fmt: skip
HOG_CONSISTENCY = Measure(
    "hog_consistency", "Frame consistency (HOG)", "higher", "paper",
    "Cosine similarity of gradient histograms and colours of neighbouring frames.",
    "histograms of gradients", "CLIP score", unit="%", digits=2,
)  # fmt: skip

OWN: tuple[Measure, ...] = (
    Measure("identity_source", "ID distance, source", "lower", "own", "Distance to the nearest photo.", "dlib"),
    Measure("identity_target", "ID distance, target", "higher", "own", "Distance to the person in the clip.", "dlib"),
    Measure(
        "expression", "Expression", "lower", "own", "Difference of seven landmark distances to the clip, medians "
        "removed, in eye distances.", "MediaPipe", digits=4,
    ),
    Measure("pose", "Pose", "lower", "own", "Difference of yaw, pitch and roll to the clip, medians removed.",
            "MediaPipe", unit="degrees", digits=2),
    Measure("gaze", "Gaze", "lower", "own", "Difference of the irises' places to the clip, medians removed, in eye "
            "widths.", "MediaPipe", digits=4),
    Measure("landmarks", "Landmarks", "lower", "own", "Distance of landmarks to the clip's, medians removed, in eye "
            "distances.", "MediaPipe", digits=4),
    Measure("lid_correlation", "Lids", "higher", "own", "Correlation of the lids' opening with the clip's.",
            "MediaPipe"),
    Measure("mouth_correlation", "Mouth", "higher", "own", "Correlation of the mouth's opening with the clip's.",
            "MediaPipe"),
    Measure("flicker", "Flicker", "one", "own", "Unrest that motion does not explain, relative to the clip's own.",
            digits=2),
    Measure("outside", "Outside change", "lower", "own", "Largest change of a sample outside the head, in levels.",
            digits=0),
    Measure("outside_mean", "Outside, mean", "lower", "own", "Mean change of the samples outside the head, in levels.",
            digits=2),
    Measure("lost", "Lost", "lower", "own", "Share of the measured frames in which no face was found.", unit="%",
            digits=1),
)  # fmt: skip

TRUTH: tuple[Measure, ...] = (
    Measure("psnr_head", "PSNR head", "higher", "truth", "Against the true answer, inside the head.", unit="dB",
            digits=2),
    Measure("ssim_head", "SSIM head", "higher", "truth", "Against the true answer, inside the head.", digits=4),
    Measure("psnr_seam", "PSNR seam", "higher", "truth", "Against the true answer, on the head's outline.", unit="dB",
            digits=2),
    Measure("ssim_seam", "SSIM seam", "higher", "truth", "Against the true answer, on the head's outline.", digits=4),
    Measure("psnr_outside", "PSNR outside", "higher", "truth", "Against the true answer, outside the head.", unit="dB",
            digits=2),
    Measure("ssim_outside", "SSIM outside", "higher", "truth", "Against the true answer, outside the head.", digits=4),
    Measure("skin", "Skin colour", "lower", "truth", "Distance of the face's mean colour from the true answer's in CIE "
            "Lab; 2 is just noticeable.", digits=1),
    Measure("iou", "Mask IoU", "higher", "truth", "Overlap of the new head's matte with the true one."),
)  # fmt: skip
LPIPS_TITLES = {"head": "head", "seam": "seam", "outside": "outside"}


def perceptual_measures(reader: str | None) -> tuple[Measure, ...]:
    """LPIPS by region, or the gradient deviation that stands for it.

    Args:
        reader: The network; ``None`` = its weights are missing.
    """
    out = []
    for region, where in LPIPS_TITLES.items():
        told = f"Against the true answer, {'outside' if region == 'outside' else 'in'} the {where}."
        if region == "outside":
            told = "Against the true answer, outside the head."
        if reader is not None:
            out.append(Measure(f"lpips_{region}", f"LPIPS {region}", "lower", "truth", told, reader, digits=4))
        else:
            out.append(
                Measure(f"gmsd_{region}", f"GMSD {region}", "lower", "truth", told, "gradient similarity", "LPIPS",
                        digits=4)
            )  # fmt: skip
    return tuple(out)


REFERENCE: tuple[Measure, ...] = (
    Measure("psnr_gen", "PSNR to I_gen", "higher", "reference", "Against the swapped images that the portrait learned, "
            "inside the new head.", unit="dB", digits=2),
    Measure("sharp_gen", "Sharpness to I_gen", "one", "reference", "Fine detail relative to the swapped images'."),
)  # fmt: skip


def ranks(measure: Measure, values: dict[str, float], readers: Iterable[str]) -> list[str]:
    """Names from best to worst.

    Args:
        measure: The column.
        values: Name of a method -> mean; NaN is left out.
        readers: What read each of the numbers.

    Raises:
        InputError: The numbers were read by different networks: they are not one measure.
    """
    different = {r for r in readers if r != measure.reader}
    if different:
        raise InputError(
            f"{measure.title!r} read by {measure.reader or 'gswap'} cannot be ranked against numbers read by "
            f"{', '.join(sorted(different))}.",
            hint="Score all methods in one run.",
        )
    known = {name: value for name, value in values.items() if value == value}
    return sorted(known, key=lambda name: (measure.worseness(known[name]), name))
