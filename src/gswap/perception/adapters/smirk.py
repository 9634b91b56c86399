"""SMIRK's encoder (Retsinas et al., arXiv 2404.04104): expression, eyelids, jaw and head pose, for AED and APD.

Two "minimal" MobileNetV3 (no squeeze-and-excite, 3x3 kernels, ReLU; padding and normalisation as TensorFlow has them)
and a linear layer each. Modules carry the names of the published checkpoint, so that it loads strictly.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gswap.foundation.errors import WeightsError
from gswap.foundation.types import RgbImage

SIDE = 224
MARGIN = 1.4
"""Side of the crop in units of the mean side of the landmarks' box."""
EXPRESSIONS, EYELIDS, JAW, POSE, CAMERA = 50, 2, 3, 3, 3
EPSILON = 1e-3


class Stage(NamedTuple):
    """Blocks of one resolution: (expansion, stride) of each, and their channels."""

    blocks: tuple[tuple[float, int], ...]
    channels: int


SMALL = (
    Stage(((1, 2),), 16),
    Stage(((4.5, 2), (3.67, 1)), 24),
    Stage(((4, 2), (6, 1), (6, 1)), 40),
    Stage(((3, 1), (3, 1)), 48),
    Stage(((6, 2), (6, 1), (6, 1)), 96),
)
LARGE = (
    Stage(((1, 1),), 16),
    Stage(((4, 2), (3, 1)), 24),
    Stage(((3, 2), (3, 1), (3, 1)), 40),
    Stage(((6, 2), (2.5, 1), (2.3, 1), (2.3, 1)), 80),
    Stage(((6, 1), (6, 1)), 112),
    Stage(((6, 2), (6, 1), (6, 1)), 160),
)
_STEM = 16


class _SameConv(nn.Conv2d):
    """Convolution padded as TensorFlow does: an odd pixel of padding goes to the right and the bottom."""

    def forward(self, input: Tensor) -> Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(input, pads) if any(pads) else input)


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> _SameConv:
    return _SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPSILON)


class _Separable(nn.Module):
    """Depthwise and pointwise convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv_dw, self.bn1 = _conv(inputs, inputs, 3, stride, inputs), _norm(inputs)
        self.conv_pw, self.bn2 = _conv(inputs, outputs), _norm(outputs)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv_pw(F.relu(self.bn1(self.conv_dw(x)))))
        return x + out if self.skip else out


class _Inverted(nn.Module):
    """Expansion, depthwise convolution, projection."""

    def __init__(self, inputs: int, outputs: int, expansion: float, stride: int) -> None:
        super().__init__()
        middle = _divisible(inputs * expansion)
        self.conv_pw, self.bn1 = _conv(inputs, middle), _norm(middle)
        self.conv_dw, self.bn2 = _conv(middle, middle, 3, stride, middle), _norm(middle)
        self.conv_pwl, self.bn3 = _conv(middle, outputs), _norm(outputs)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn2(self.conv_dw(F.relu(self.bn1(self.conv_pw(x))))))
        out = self.bn3(self.conv_pwl(out))
        return x + out if self.skip else out


class _Last(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv, self.bn1 = _conv(inputs, outputs), _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv(x)))


def _divisible(channels: float, by: int = 8) -> int:
    """The multiple of eight nearest to a number of channels, never less than nine tenths of it."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded


class Backbone(nn.Module):
    """A minimal MobileNetV3 without its classifier: picture -> mean of its last features."""

    def __init__(self, stages: tuple[Stage, ...]) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = _conv(3, _STEM, 3, 2), _norm(_STEM)
        widths = [_STEM, *(stage.channels for stage in stages)]
        blocks: list[nn.Module] = []
        for (inputs, outputs), stage in zip(pairwise(widths), stages, strict=True):
            row: list[nn.Module] = []
            for k, (expansion, stride) in enumerate(stage.blocks):
                width = inputs if k == 0 else outputs
                first = expansion == 1
                row.append(
                    _Separable(width, outputs, stride) if first else _Inverted(width, outputs, expansion, stride)
                )
            blocks.append(nn.Sequential(*row))
        self.channels = 6 * widths[-1]
        blocks.append(nn.Sequential(_Last(widths[-1], self.channels)))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Float[Tensor, "b 3 224 224"]) -> Float[Tensor, "b c"]:
        """Pictures in [0, 1]."""
        return self.blocks(F.relu(self.bn1(self.conv_stem(x)))).mean((2, 3))


class _Encoder(nn.Module):
    def __init__(self, stages: tuple[Stage, ...], head: str, outputs: int) -> None:
        super().__init__()
        self.encoder = Backbone(stages)
        setattr(self, head, nn.Sequential(nn.Linear(self.encoder.channels, outputs)))
        self._head = head

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, self._head)(self.encoder(x))


class SmirkEncoder(nn.Module):
    """Expression and pose of cropped faces."""

    def __init__(self) -> None:
        super().__init__()
        self.pose_encoder = _Encoder(SMALL, "pose_cam_layers", POSE + CAMERA)
        self.expression_encoder = _Encoder(LARGE, "expression_layers", EXPRESSIONS + EYELIDS + JAW)

    def forward(self, x: Float[Tensor, "b 3 224 224"]) -> tuple[Float[Tensor, "b 55"], Float[Tensor, "b 3"]]:
        """Expression (50 coefficients, two eyelids in [0, 1], three jaw angles in radians) and pose (radians)."""
        raw = self.expression_encoder(x)
        expression, lids, jaw = raw.split([EXPRESSIONS, EYELIDS, JAW], 1)
        jaw = torch.cat([F.relu(jaw[:, :1]), jaw[:, 1:].clamp(-0.2, 0.2)], 1)
        return torch.cat([expression, lids.clamp(0, 1), jaw], 1), self.pose_encoder(x)[:, :POSE]


def load_smirk(path: Path) -> SmirkEncoder:
    """The encoder from the verified part ``smirk``.

    Raises:
        WeightsError: The file does not hold its weights.
    """
    prefix = "smirk_encoder."
    wanted = ("pose_encoder.", "expression_encoder.")
    model = SmirkEncoder()
    try:
        stored = {k.removeprefix(prefix): v.float() for k, v in load_file(path).items()}
        model.load_state_dict({k: v for k, v in stored.items() if k.startswith(wanted)})
    except (SafetensorError, OSError, RuntimeError) as error:
        raise WeightsError(f"Expected SMIRK's encoder, found something else ({error}).", path=path) from error
    return model.eval()


def crop_face(image: RgbImage, landmarks: Float[np.ndarray, "478 3"]) -> RgbImage:
    """The square that the network sees: the landmarks' box grown by 1.4, black beyond the image."""
    xy = landmarks[:, :2] - 0.5
    low, high = xy.min(0), xy.max(0)
    side = int((high - low).mean() * MARGIN)
    scale = (SIDE - 1) / max(side, 1)
    corner = (low + high) / 2 - side / 2
    matrix = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
    return np.asarray(cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR))


@torch.no_grad()
def read_face(
    model: SmirkEncoder, image: RgbImage, landmarks: Float[np.ndarray, "478 3"]
) -> tuple[Float[np.ndarray, "55"], Float[np.ndarray, "3"]]:
    """Expression and pose of the face with these landmarks."""
    picture = torch.from_numpy(crop_face(image, landmarks)).permute(2, 0, 1)[None].float() / 255
    expression, pose = model(picture)
    return expression[0].numpy().astype(np.float64), pose[0].numpy().astype(np.float64)
