"""An imperceptible, temporal, spread-spectrum watermark on the luma plane: a 24-bit id in every video.

A keyed +-1 pattern of 64 x 64 cells (8 px where the picture's short side is 512, in proportion elsewhere) is tiled
over the frame and added to luma, stronger where the picture is busy. **Its sign flips every 0.4 s of presentation
time**, so that a detector that subtracts neighbouring intervals cancels the picture and keeps the mark. A quarter of
the cells is a pilot, for finding crop, scale and phase; the rest carries id and CRC in an error-correcting code.

It is robust against ordinary handling, not against an adversary: the key is public.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache, reduce

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import hadamard

from gswap.foundation.errors import UsageError

ID_BITS = 24
CRC_BITS = 12
GRID = 64
"""Cells along one side of the tile."""
CELL = 8
"""Pixels along one side of a cell, where the short side of the picture is :data:`CANONICAL`."""
CANONICAL = GRID * CELL
HALF_PERIOD = 0.4
"""Seconds between sign flips."""
STRENGTHS = ((0, 0.95), (480, 0.8), (1080, 0.6))
"""Default strengths from a short side (pixels) on: larger pictures have more of them to average over."""
MIN_PSNR = 46.1
"""dB; a frame whose mark would fall below it gets a weaker one."""
ROUNDING_VARIANCE = 1 / 6
"""What dither and rounding to whole samples add to the error, in squared samples."""

_KEY = 20261
"""Seed of the public key. Changing it orphans every mark made before."""
_SYMBOLS, _CHIPS = 4, 256
"""Id and CRC are four symbols of nine bits: one of 256 orthogonal Walsh rows, and its sign (biorthogonal code)."""
_SYMBOL_BITS = 9
_PILOT_CELLS = GRID * GRID // 4
_BASE_LEVELS, _ACTIVITY_GAIN, _MAX_LEVELS = 0.7, 0.2, 3.0
"""8-bit levels at strength 1: in flat areas, per level of local standard deviation, at most."""
_DARK, _DARKEST_SHARE = 110.0, 0.4
"""Below this 8-bit luma flat areas take less, in proportion (Weber: the eye sees ratios), down to this share."""
_SMOOTHING = 1.5
"""Blur of the cell edges, pixels at the canonical size."""
_ACTIVITY_STEP = 4
_ACTIVITY_WINDOW = 7
_CANDIDATES = 12
"""Readings per symbol of which all combinations are tried against the CRC."""


# ---------------------------------------------------------------- code
@lru_cache(maxsize=1)
def _layout() -> tuple[Float[np.ndarray, "n"], Bool[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Keyed sign of every cell, which cells are pilot, and the chip (symbol * 256 + index) that the others carry."""
    rng = np.random.default_rng(_KEY)
    order = rng.permutation(GRID * GRID)
    sign = rng.choice([-1.0, 1.0], GRID * GRID)
    pilot = np.zeros(GRID * GRID, bool)
    pilot[order[:_PILOT_CELLS]] = True
    chip = np.full(GRID * GRID, -1)
    chip[order[_PILOT_CELLS:]] = np.arange(GRID * GRID - _PILOT_CELLS) % (_SYMBOLS * _CHIPS)
    return sign, pilot, chip


def pilot_pattern() -> Float[np.ndarray, "64 64"]:
    """The known part of the tile: +-1 at pilot cells, 0 elsewhere."""
    sign, pilot, _ = _layout()
    return (sign * pilot).reshape(GRID, GRID)


def tile(identifier: int) -> Float[np.ndarray, "64 64"]:
    """The whole +-1 tile for an id.

    Raises:
        UsageError: The id does not fit into 24 bits.
    """
    if not 0 <= identifier < 1 << ID_BITS:
        raise UsageError(f"The watermark id is {identifier}, expected 0 to {(1 << ID_BITS) - 1}.")
    walsh = _walsh()
    word = identifier << CRC_BITS | _crc(identifier)
    chips = []
    for index in reversed(range(_SYMBOLS)):
        symbol = word >> index * _SYMBOL_BITS & (1 << _SYMBOL_BITS) - 1
        chips.append(walsh[symbol % _CHIPS] * (1 if symbol < _CHIPS else -1))
    sign, _, chip = _layout()
    return (sign * np.where(chip >= 0, np.concatenate(chips)[chip], 1)).reshape(GRID, GRID)


def decode_tile(soft: Float[np.ndarray, "64 64"]) -> tuple[int | None, float]:
    """The likeliest id in soft cell values (any scale, 0 = unseen), and its score.

    The score is the correlation with the id's codeword, ``<c, v> / |v|`` over the n = 3072 data cells. Where the values
    do not depend on the key, the products ``c_i v_i`` have independent random signs, so that by Hoeffding's inequality
    ``P(score >= x) <= exp(-x^2 / 2)`` for each of the 2^24 codewords, *whatever the picture is* (see
    :func:`score_threshold`).

    Returns:
        The id, or ``None`` (score 0) when the best :data:`_CANDIDATES` readings of every symbol make no valid codeword.
    """
    sign, _, chip = _layout()
    data = chip >= 0
    values = soft.ravel()[data]
    chips = np.bincount(chip[data], values * sign[data], _SYMBOLS * _CHIPS).reshape(_SYMBOLS, _CHIPS)
    correlation = chips @ _walsh().T
    correlation = np.concatenate([correlation, -correlation], 1)
    best = np.argpartition(-correlation, _CANDIDATES, 1)[:, :_CANDIDATES]
    word = _combine(symbols << (_SYMBOLS - 1 - i) * _SYMBOL_BITS for i, symbols in enumerate(best))
    total = _combine(np.take_along_axis(correlation, best, 1))
    identifier = word >> CRC_BITS
    valid = np.flatnonzero(_crc_of(identifier) == word & (1 << CRC_BITS) - 1)
    if not len(valid):
        return None, 0.0
    winner = valid[total[valid].argmax()]
    return int(identifier[winner]), float(total[winner] / max(np.linalg.norm(values), 1e-12))


def score_threshold(places: int, false_alarms: float) -> float:
    """Score from which an id is believed, so that chance reads one at any of ``places`` with at most this probability.

    A union bound over the 2^24 codewords and the places on the inequality of :func:`decode_tile`.
    """
    return math.sqrt(2 * math.log((1 << ID_BITS) * places / false_alarms))


def pilot_score(soft: Float[np.ndarray, "64 64"]) -> float:
    """Correlation of soft cell values with the pilot over the norm of the pilot's cells; bounded like the code's."""
    sign, pilot, _ = _layout()
    values = soft.ravel()[pilot]
    return float(values @ sign[pilot] / max(np.linalg.norm(values), 1e-12))


def pilot_threshold(places: int, false_alarms: float) -> float:
    """Pilot score (of either sign) that chance reaches at any of ``places`` with at most this probability."""
    return math.sqrt(2 * math.log(2 * places / false_alarms))


def _combine(rows: Iterable[np.ndarray]) -> np.ndarray:
    """Sums of one entry of every row, all combinations, flat."""
    return np.ravel(reduce(np.add.outer, rows))


@lru_cache(maxsize=1)
def _walsh() -> Float[np.ndarray, "n n"]:
    return hadamard(_CHIPS).astype(np.float64)


def _crc(identifier: int) -> int:
    """Twelve bits of CRC-32, so that 0 does not check as 0."""
    return zlib.crc32(identifier.to_bytes(3)) & (1 << CRC_BITS) - 1


@lru_cache(maxsize=1)
def _crc_tables() -> Int[np.ndarray, "3 256"]:
    """What each byte of an id contributes: a CRC is affine over GF(2)."""
    tables = np.array([[_crc(byte << shift) for byte in range(256)] for shift in (16, 8, 0)])
    return tables ^ np.array([[0], [_crc(0)], [_crc(0)]])


def _crc_of(identifiers: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """:func:`_crc` of many ids."""
    high, middle, low = _crc_tables()
    return high[identifiers >> 16] ^ middle[identifiers >> 8 & 255] ^ low[identifiers & 255]


# ---------------------------------------------------------------- embedding
def sign_at(seconds: float) -> int:
    """+1 or -1: the pattern's sign at a presentation time (seconds from the clip's first frame)."""
    return 1 - 2 * (int(np.floor(seconds / HALF_PERIOD + 1e-6)) % 2)


def default_strength(width: int, height: int) -> float:
    """Strength for a frame size."""
    return [strength for side, strength in STRENGTHS if min(width, height) >= side][-1]


def embed(
    luma: np.ndarray, seconds: float, identifier: int, *, strength: float | None = None, bit_depth: int = 8
) -> np.ndarray:
    """A copy of a luma plane with the mark in it.

    Args:
        luma: ``(h, w)``, ``uint8`` or ``uint16`` with the samples in the low ``bit_depth`` bits.
        seconds: Presentation time from the clip's first frame.
        identifier: 24-bit id.
        strength: 0.8 is 47 to 51 dB, by how busy the picture is; :func:`default_strength` of the size by default.
        bit_depth: Bits per sample.
    """
    height, width = luma.shape
    if strength is None:
        strength = default_strength(width, height)
    unit = float(1 << (bit_depth - 8))
    change = cv2.multiply(_amplitude(luma, strength, unit), _pattern(identifier, width, height))
    allowed = np.sqrt((255.0 * unit) ** 2 * 10 ** (-MIN_PSNR / 10) - ROUNDING_VARIANCE)
    rms = float(cv2.norm(change)) / np.sqrt(change.size)
    gain = sign_at(seconds) * min(1.0, allowed / rms)
    depth = cv2.CV_8U if luma.dtype == np.uint8 else cv2.CV_16U
    out = cv2.add(cv2.scaleAdd(change, gain, _dither(width, height)), luma, dtype=depth)
    return np.minimum(out, (1 << bit_depth) - 1) if bit_depth not in (8, 16) else out


def embed_rgb(
    planes: Sequence[np.ndarray], seconds: float, identifier: int, *, bit_depth: int = 8
) -> tuple[np.ndarray, ...]:
    """The same for planar RGB: the change of luma is added to all three planes; further planes stay as they are.

    Args:
        planes: Three colour planes in any order, ``(h, w)`` each, then possibly alpha.
        seconds: Presentation time from the clip's first frame.
        identifier: 24-bit id.
        bit_depth: Bits per sample.
    """
    luma = np.rint(np.mean(planes[:3], axis=0, dtype=np.float32)).astype(planes[0].dtype)
    change = cv2.subtract(embed(luma, seconds, identifier, bit_depth=bit_depth), luma, dtype=cv2.CV_32F)
    peak = (1 << bit_depth) - 1
    colors = (np.clip(plane + change, 0, peak).astype(plane.dtype) for plane in planes[:3])
    return (*colors, *planes[3:])


def _amplitude(luma: np.ndarray, strength: float, unit: float) -> Float[np.ndarray, "h w"]:
    """How much each pixel takes, in samples of ``unit`` per 8-bit level, by local activity at a quarter of the size."""
    height, width = luma.shape
    small_size = (max(1, width // _ACTIVITY_STEP), max(1, height // _ACTIVITY_STEP))
    small = cv2.resize(luma, small_size, interpolation=cv2.INTER_AREA).astype(np.float32)
    window = (_ACTIVITY_WINDOW, _ACTIVITY_WINDOW)
    mean = cv2.blur(small, window)
    deviation = cv2.sqrt(np.maximum(cv2.blur(small * small, window) - mean * mean, 0)) / unit
    # Texture hides the mark, a lone edge between two flat areas does not: where the neighbourhood is calm, be calm.
    deviation = cv2.erode(deviation, np.ones(window, np.uint8))
    base = _BASE_LEVELS * np.clip(mean / (unit * _DARK), _DARKEST_SHARE, 1)
    levels = np.minimum(base + _ACTIVITY_GAIN * deviation, _MAX_LEVELS)
    return cv2.resize((levels * (strength * unit)).astype(np.float32), (width, height))


@lru_cache(maxsize=2)
def _dither(width: int, height: int) -> Float[np.ndarray, "h w"]:
    """Fixed dither in [-0.5, 0.5): without it, a mark of less than half a level rounds away in a flat, noiseless area.

    Interleaved gradient noise (J. Jimenez, "Next generation post processing in Call of Duty", SIGGRAPH 2014).
    """
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return (np.modf(52.9829189 * np.modf(0.06711056 * x + 0.00583715 * y)[0])[0] - 0.5).astype(np.float32)


@lru_cache(maxsize=2)
def _pattern(identifier: int, width: int, height: int) -> Float[np.ndarray, "h w"]:
    """The tiled, smoothed pattern at the frame's size, about -1 to 1."""
    scale = CANONICAL / min(width, height)
    canonical = (round(width * scale), round(height * scale))
    across, down = (-(-side // CANONICAL) for side in canonical)
    cells = np.tile(tile(identifier), (down, across)).astype(np.float32)
    blocks = cv2.resize(cells, None, fx=CELL, fy=CELL, interpolation=cv2.INTER_CUBIC)
    smooth = cv2.GaussianBlur(blocks[: canonical[1], : canonical[0]], (0, 0), _SMOOTHING)
    return cv2.resize(smooth, (width, height), interpolation=cv2.INTER_CUBIC)
