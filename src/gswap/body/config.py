"""What can be chosen about the body fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Retracking = Literal["bias", "full", "none"]


@dataclass(frozen=True)
class FitConfig:
    """How a body is fitted to face landmarks."""

    focal_ratio: float = 2.2
    """Focal length to expect, in units of the image's longer side (phones: about 0.8 to 2, portraits: 2 to 4)."""
    focal_sigma: float = 0.0
    """How far a clip's focal length may differ from the expected one (of its logarithm); 0 holds it there.

    Only a face that is near the camera and turns shows it, and the landmark detector's errors look like a shorter lens:
    0.25 finds strong perspective, but makes ordinary lenses a third too short.
    """
    shape_prior: float = 3.0
    """Strength of the prior that pulls the face towards the mean one, 1 = the spread of the model's people.

    Used where points of ears, skull, jaw and face were looked for.
    """
    shape_prior_alone: float = 10.0
    """The same where there are landmarks alone, whose errors look like shape: a weaker one makes the face worse."""
    offset_prior: float = 5.0
    """Strength of the prior against free offsets of the skin from the model's shapes, where those points were found."""
    offset_prior_alone: float = 8.0
    """The same where there are landmarks alone: a looser one fits the detector's errors of a few photos."""
    common_errors: float = 0.39
    """Size of the errors that landmarks have in common, of that studied; chosen on clips.

    Smaller ones make the residuals of clips smaller, larger ones the poses of single photos steadier.
    """
    common_errors_alone: float = 0.515
    """The same where there are landmarks alone."""
    action_prior: float = 0.7
    """Strength of the prior against facial actions."""
    smoothness: float = 1.0
    """Strength of the temporal terms; 0 fits every frame on its own."""
    iterations: int = 3
    """Gauss-Newton steps of the final fit over all frames."""
    key_frames: int = 32
    """Frames from which shape and offsets are estimated."""
    measured_lids: bool = True
    """Close the lids as far as they are measured to be closed, so that a blink is a blink."""


@dataclass(frozen=True)
class RetrackConfig:
    """How the generated clip is tracked."""

    method: Retracking = "bias"
    """For its shape and constant bias, every image on its own (the paper's way, for generators that do not obey the
    pose), or not at all (for comparison)."""
    frames: int = 40
    """Frames that `bias` looks at: shape and bias are constant over a clip."""
