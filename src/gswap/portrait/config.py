"""Every number of the fit in one place. No torch here: the command line reads this file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from gswap.foundation.settings import NO_RESULT

Quality = Literal["preview", "standard", "best"]


@dataclass(frozen=True)
class FitConfig:
    """How a portrait is fitted. Steps are counted, not epochs: the cost does not depend on the clip's length."""

    # ---- schedule
    coarse_steps: int = 1200
    """Steps at a reduced image size."""
    fine_steps: int = 900
    """Steps at the window's own size, after the coarse ones."""
    coarse_side: int = 256
    """The coarse size is the window halved until its longer side is nearest to this many pixels."""
    warm: float = 0.3
    """Share of the steps with constant learning rates; then they fall exponentially."""
    final_rate: float = 0.05
    """Learning rates at the end, relative to those at the start."""
    hold_out: int = 0
    """Leave out every n-th frame (from n / 2) for evaluation; 0 = none."""
    emphasis: int = 3
    """How often an epoch visits frames with a blink or a wide-open mouth, which are rare."""
    cache_megabytes: int = field(default=96, metadata=NO_RESULT)
    """Memory for decoded frames."""
    checkpoint_every: int = field(default=100, metadata=NO_RESULT)
    """Steps between two checkpoints."""
    preview_every: int = field(default=250, metadata=NO_RESULT)
    """Steps between two preview sheets."""
    seed: int = 0
    """Seed of the initial weights, of the points on the eyeballs and of the order of frames. A job takes `--seed`."""

    # ---- field
    region: Literal["head", "upper-body"] = "head"
    """What carries Gaussians: head and neck, or shoulders and chest too, as in the paper. In the clip the plate shows
    the torso either way; the upper body is there for novel views (`gswap orbit`)."""
    texels: int = 0
    """Side of the UV map; about 0.34 * texels^2 Gaussians. 0 = by the window's size (256 at 256 px, 350 at 480 px)."""
    samples_per_eye_face: int = 6
    """Gaussians on every triangle of the eyeballs."""
    opacity: float = 0.9
    """Initial opacity. With 0.6 one layer of Gaussians covers 85 %: the mouth's inside shone through the cheeks."""
    temporal: Literal["none", "add", "mlp"] = "none"
    """How the temporal condition c_t acts on the features. Frame-random flicker averages away without it."""
    appearance: Literal["neural", "harmonics"] = "neural"
    """Features that the rerenderer decodes, or colours by spherical harmonics, for comparison (Fig. 14)."""
    offsets: bool = True
    """Let Gaussians leave the surface in the frame of their face (hair)."""
    vertex_offsets: bool = True
    """Learn dM, the offset of every vertex before skinning."""
    expressions: int = 11
    """Numbers of a frame (principal components of its face, and how it is turned) that drive learned changes of shape
    and features; 0 = none."""
    delta_after_skinning: bool = False
    """Add dM after skinning, as eq. 6 is printed: it does not turn with the head."""
    splat_channels: Literal[8, 32] = 8
    """Channels that are splatted: the 8 that mean something, or the paper's 32, of which the rest are zero."""
    outline: bool = True
    """Start dM from the outline of the hair in the mattes instead of from the bald skull."""
    correct_pose: bool = True
    """Learn six numbers per frame that correct the head's tracked pose."""

    # ---- networks
    rerender: bool = True
    """Use background encoder and rerenderer; without them RGB is composited directly (27 % faster, softer eyes)."""
    paper_literal: bool = False
    """ReLU after the rerenderer's last layer and an encoder padded to 8 input channels, as printed."""

    printed_fusion: bool = False
    """Eq. 11 as printed: it multiplies premultiplied features by the mask once more (dark soft edges)."""

    # ---- learning rates (Adam, betas 0.9 and 0.99)
    damping: float = 1.0
    """How much Gaussians that hardly show are held back; 0 = not at all (they become floaters from other sides)."""
    rate_features: float = 1e-2
    """Features."""
    rate_harmonics: float = 1e-3
    """Spherical harmonics beyond the constant colour."""
    rate_opacity: float = 5e-2
    """Opacity logits."""
    rate_scale: float = 5e-3
    """Log scales."""
    rate_rotation: float = 2e-3
    """Rotations."""
    rate_offset: float = 5e-4
    """Offsets in the face frame, metres."""
    rate_delta: float = 1e-4
    """dM, metres."""
    rate_delta_modes: float = 5e-5
    """Changes of dM with the expression, metres."""
    rate_feature_modes: float = 3e-3
    """Changes of the features with the expression."""
    rate_condition: float = 2e-3
    """c_t."""
    rate_networks: float = 1e-3
    """Networks."""
    rate_correction: float = 1e-3
    """Pose corrections (radians, decimetres)."""

    # ---- losses
    weight_mask: float = 1.0
    """|A - A_gen| (eq. 14), not over clothes."""
    weight_gradient: float = 1.0
    """L1 of image gradients at three scales: with the next one, the stand-in for LPIPS."""
    weight_ssim: float = 0.2
    """1 - SSIM of 8x8 windows, stride 4."""
    weight_perceptual: float = 0.5
    """Perceptual loss, where one is handed in; from a third of the steps on, every fourth step."""
    weight_guidance: float = 1.0
    """Super-resolution guidance, where it is chosen; from a third of the steps on, every fourth step."""
    weight_background: float = 1.0
    """Background loss (eq. 15), outside the inpainting mask only."""
    weight_auxiliary: float = 0.5
    """|phi_fore[0:3] - M F|: keeps the first three channels RGB."""
    weight_delta_laplacian: float = 1e3
    """Smoothness of dM."""
    weight_delta: float = 1e1
    """Length of dM."""
    weight_delta_depth: float = 3e2
    """Length of what dM learns between front and back, which a frontal clip cannot see (cheeks caved in)."""
    weight_offset: float = 1e1
    """Length of the offsets."""
    weight_offset_unseen: float = 2e3
    """Length of the offsets off the skin, and in the hair between front and back: what a frontal clip cannot see."""
    weight_offset_roughness: float = 1e3
    """Difference between an offset and those of its neighbours: holes that only other views would show."""
    weight_sides: float = 0.2
    """What is open inside the surface's outline, or shows outside of it, from random sides (`portrait.sides`)."""
    weight_correction: float = 1e1
    """Length of the pose corrections."""
    weight_features: float = 1.0
    """Distance of the features from those that the pictures were first projected to."""
    weight_feature_modes: float = 1.0
    """Size of the features' changes with the expression."""
    weight_opacity: float = 1e-2
    """Distance of the opacity logits from their initial value."""
    weight_scale: float = 1e-2
    """Distance of the log scales from their initial values."""
    weight_condition: float = 1e-3
    """Length of c_t."""
    least_confidence: float = 0.3
    """Weight of pixels that the swapper trusts least, relative to those it trusts."""

    # ---- driving
    driving_shape: Literal["generated", "target"] = "generated"
    """The shape that drives: the new head's, with its constant bias to the target; or beta_tgt, as in the paper."""
    driving_condition: Literal["mean", "first"] = "mean"
    """The c_t that drives: the mean over the fitted frames, or c_1 (the paper's), which carries frame 1's tint."""
    correction_sigma: float = 2.0
    """Frames; pose corrections are smoothed over time by this much before they drive."""

    def divisor(self, width: int, height: int) -> int:
        """By how much the coarse image is smaller: a power of two."""
        return 2 ** max(0, round(math.log2(max(width, height) / self.coarse_side)))

    def texture_side(self, width: int, height: int) -> int:
        """Side of the UV map for a window of this size."""
        return self.texels or round(256 * math.sqrt(max(width, height) / 256))


def preset(quality: Quality) -> FitConfig:
    """The configurations that are offered by name.

    ``preview`` shows in half a minute whether the job is worth doing, ``standard`` is the default, ``best`` takes
    about three times as long.
    """
    if quality == "preview":
        return FitConfig(coarse_steps=270, fine_steps=0, rerender=False)
    if quality == "best":
        return FitConfig(coarse_steps=2400, fine_steps=2700)
    return FitConfig()
