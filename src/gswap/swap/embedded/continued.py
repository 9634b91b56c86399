"""Long hair that a photo's lower border cuts goes on below it: a guess, in the photo's own colours and strands.

Portraits often end at the chin or the neck. What is seen of the hair says where its strands go, how wide it is, its
colours and its texture; how long it is nobody knows. It goes on along its strands, which soon hang straight down, gets
narrower and ends in thin tips below the shoulders of most people. Where the photo ends above the clothes, the hair
hangs beside and behind the neck, and goes behind the target's clothes; where it lies on the photo's clothes, it lies on
the target's. Behind the neck there is hair, too, in its shadow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from gswap.foundation.imaging import blur
from gswap.foundation.landmarks import CHIN
from gswap.swap.config import FallConfig
from gswap.swap.embedded.photos import HAIR_EDGE_FADE, Fall, ReadyPhoto, lowest_row
from gswap.swap.embedded.regions import LOG_FLOOR, hair_likeness

SOLID = 128
"""Matte level from which a pixel is head."""
STRAND, CLUMP, LOCK = 0.006, 0.02, 0.05
"""Sizes of single strands, of what sticks together and of what ends together, face widths."""
SETTLES = 0.1
"""Way on which the last rows' own strands give way to the band's, face widths."""
CALM = 0.6
"""Share of noise of variance 1 that is kept, so that hardly any is clipped at 1."""
FRINGE = (2.2, 0.8, 0.5)
"""Matte of the strands below a soft outline: gain, what is taken off, and by how much strands differ."""
LEAST = 0.1
"""Hair goes on at least this far, face widths: room for its tips."""
STUB = 0.15
"""How far the photo's neck goes on, face widths."""
MOSTLY_HAIR = 0.3
"""Share of hair from which a column has the hair's colour alone."""
SIDEWAYS = (1.0, -1.6, 2.3, -0.7)
"""How far aside the texture is taken from one length of it to the next: no two are neighbours."""
BEHIND = 0.8
"""Contrast of the strands behind the neck."""
SPAN_EDGE, CHEEK_EDGE = 0.03, 0.1
"""Soft edges of the hair behind the neck, beside and above, face widths."""


def continued(photo: ReadyPhoto, cfg: FallConfig) -> ReadyPhoto:
    """The photo with its hair going on below its lower border, where that cuts it; any other photo as it is."""
    if photo.cut is None:
        return photo
    border = _Border.of(photo, cfg)
    if border is None:
        return replace(photo, alpha=_fading(photo, np.zeros(photo.alpha.shape, np.float32)))
    h = len(photo.alpha)
    fall = _Curtain(border, photo.face_width, _rows(photo, cfg), cfg)
    front, alpha = fall.front(neck=not photo.cut.over_clothes)
    back, cover = fall.back()
    back_above, cover_above = fall.back_above(photo)
    return replace(
        photo,
        foreground=np.vstack([photo.foreground, front]),
        alpha=np.vstack([_without_clothes(photo, cfg) if photo.cut.over_clothes else photo.alpha, alpha]),
        fall=Fall(float(h), photo.cut.over_clothes, np.vstack([back_above, back]), np.vstack([cover_above, cover])),
    )


def _rows(photo: ReadyPhoto, cfg: FallConfig) -> int:
    """How long hair is below the border, pixels; no further down than heads are looked at."""
    points, fw, h = photo.points, photo.face_width, len(photo.alpha)
    length = cfg.least_length
    if photo.cut is not None and not photo.cut.over_clothes:
        length = max(length, (points[CHIN, 1] - h) / fw + cfg.below_chin)
    room = (lowest_row(points) - h) / fw
    return max(round(max(min(length, room), LEAST) * fw), 1)


def _without_clothes(photo: ReadyPhoto, cfg: FallConfig) -> UInt8[np.ndarray, "h w"]:
    """The matte, all but the hair fading out at the border."""
    hair = blur(hair_likeness(photo.foreground, photo.alpha, photo.points), cfg.last * photo.face_width / 2)
    return _fading(photo, np.clip(2 * hair, 0, 1))  # strands of another colour stay


def _fading(photo: ReadyPhoto, kept: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """The matte fading out at the border as that of long hair does, but what is ``kept``."""
    h = len(photo.alpha)
    fade = np.clip((h - 1 - np.arange(h, dtype=np.float32)) / (HAIR_EDGE_FADE * h), 0, 1)[:, None]
    return _mask(photo.alpha.astype(np.float32) / 255 * (kept + (1 - kept) * fade))


@dataclass(frozen=True)
class _Border:
    """What a photo shows of its hair where it ends."""

    hair: Bool[np.ndarray, "w"]
    """Columns of hair."""
    share: Float[np.ndarray, "w"]
    """The same, soft: 1 = hair, 0 = skin or nothing."""
    matte: Float[np.ndarray, "w"]
    """[0, 1]"""
    low: Float[np.ndarray, "w 3"]
    """Log colours of the hair without its strands, defined in every column."""
    fine: Float[np.ndarray, "w 3"]
    """Log contrast of the strands in the last rows."""
    skin: Float[np.ndarray, "w 3"]
    """Log colours of all that is seen in the last rows."""
    slope: Float[np.ndarray, "w"]
    """Pixels to the right per pixel downwards along the strands."""
    strands: Float[np.ndarray, "b w 3"]
    """Log contrast of the strands in the last band, each column along its strand; 0 where there is no hair."""
    chin: float
    """Column of the chin."""

    @classmethod
    def of(cls, photo: ReadyPhoto, cfg: FallConfig) -> _Border | None:
        """Look at the last band of a photo; ``None`` where no column of hair comes down through it."""
        fw, h = photo.face_width, len(photo.alpha)
        band = min(max(round(cfg.band * fw), 4), h)
        alpha = photo.alpha[h - band :].astype(np.float32) / 255
        logs = np.log(photo.foreground[h - band :].astype(np.float32) + LOG_FLOOR)
        likely = hair_likeness(photo.foreground, photo.alpha, photo.points)[h - band :] * (alpha > 0.5)
        last = min(max(round(cfg.last * fw), 1), band)
        inner = cv2.erode(likely, np.ones((1, 2 * round(cfg.mixed * fw) + 1), np.uint8))
        solid = np.maximum((inner * alpha**6)[-last:], 1e-4)
        share = blur(likely[-last:].mean(0)[None], 0.01 * fw)[0]
        share /= np.maximum(blur((alpha[-last:] > 0.5).mean(0).astype(np.float32)[None], 0.01 * fw)[0], 1e-3)
        falls = likely.mean(0) > cfg.falls
        hair = _runs((share > 0.5) & falls & (alpha[-last:].mean(0) > 0.3), cfg.narrowest * fw)
        if not (solid.mean(0) * hair > MOSTLY_HAIR).any():
            return None
        weight = solid.mean(0) * hair
        seen = (logs[-last:] * solid[..., None]).sum(0) / solid.sum(0)[:, None]
        low = _known(seen, weight, cfg.lock * fw)
        slope = _slopes(logs, likely * hair, cfg, fw)
        return cls(
            hair=hair,
            share=np.where(hair, np.clip(share, 0, 1), 0).astype(np.float32),
            matte=alpha[-last:].mean(0),
            low=low,
            fine=(seen - low) * np.minimum(weight / 0.5, 1)[:, None],
            skin=_blur_rows(logs[-last:].mean(0), 0.02 * fw),
            slope=slope,
            strands=_straightened(logs, inner * alpha * hair, slope, cfg.lock * fw),
            chin=float(photo.points[CHIN, 0]),
        )


def _runs(columns: Bool[np.ndarray, "w"], narrowest: float) -> Bool[np.ndarray, "w"]:
    """Columns whose run is not narrower than this, pixels, small gaps closed."""
    size = np.ones((1, max(round(narrowest), 1) | 1), np.uint8)
    row = columns.astype(np.uint8)[None]
    row = cv2.morphologyEx(cv2.morphologyEx(row, cv2.MORPH_CLOSE, size), cv2.MORPH_OPEN, size)
    return row[0] > 0


def _blur_rows(values: Float[np.ndarray, "w c"], sigma: float) -> Float[np.ndarray, "w c"]:
    return blur(np.ascontiguousarray(values[None].astype(np.float32)), sigma).reshape(values.shape)


def _known(values: Float[np.ndarray, "w 3"], weight: Float[np.ndarray, "w"], sigma: float) -> Float[np.ndarray, "w 3"]:
    """Weighted blur along a row, and between what is known, linear."""
    near = _blur_rows(weight[:, None], sigma)
    smooth = _blur_rows(values * weight[:, None], sigma) / np.maximum(near, 1e-6)
    known = np.flatnonzero(weight > 0.3 * weight.max())
    columns = np.arange(len(weight))
    return np.stack([np.interp(columns, known, smooth[known, c]) for c in range(3)], -1).astype(np.float32)


def _slopes(
    logs: Float[np.ndarray, "b w 3"], weight: Float[np.ndarray, "b w"], cfg: FallConfig, fw: float
) -> Float[np.ndarray, "w"]:
    """Direction of the strands per column: along it colours change least (least squares)."""
    light = logs.mean(-1)
    across, along = cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)
    inside = cv2.erode(weight, np.ones((3, 3), np.uint8))
    products = np.stack([(inside * across * across).sum(0), (inside * across * along).sum(0)], -1)
    products = _blur_rows(products, cfg.alike * fw)
    floor = 0.02 * float(products[:, 0].max()) + 1e-6  # hangs straight where no strands are seen
    return np.clip(-products[:, 1] / (products[:, 0] + floor), -cfg.steepest, cfg.steepest)


def _straightened(
    logs: Float[np.ndarray, "b w 3"], weight: Float[np.ndarray, "b w"], slope: Float[np.ndarray, "w"], sigma: float
) -> Float[np.ndarray, "b w 3"]:
    """Contrast across the strands, rows moved so that strands stand upright over the column in which they end."""
    b, w = weight.shape
    above = np.arange(b - 1, -1, -1, dtype=np.float32)[:, None]
    x = np.arange(w, dtype=np.float32)[None] - slope[None].astype(np.float32) * above
    y = np.broadcast_to(b - 1 - above, (b, w)).astype(np.float32)
    logs, weight = (cv2.remap(a, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for a in (logs, weight))
    solid = np.maximum(weight, 1e-4)
    smooth = blur(logs * solid[..., None], sigma) / blur(solid, sigma)[..., None]
    fine = (logs - smooth) * weight[..., None]
    limit = 3 * np.sqrt((fine**2).sum() / max(float(weight.sum()), 1.0) / 3)  # an earring is no strand
    return np.clip(fine, -limit, limit)


class _Curtain:
    """The hair below the border."""

    def __init__(self, border: _Border, fw: float, rows: int, cfg: FallConfig) -> None:
        self.border, self.fw, self.rows, self.cfg = border, fw, rows, cfg
        self.down = (np.arange(rows, dtype=np.float32) + 0.5)[:, None]
        """Below the border, pixels."""
        w = len(border.hair)
        self.own = np.broadcast_to(np.arange(w, dtype=np.float32)[None], (rows, w))
        bend = cfg.straightens * fw
        shift = bend * (1 - np.exp(-self.down / bend))
        wave = cfg.wave * np.sin(2 * np.pi * self.down / (cfg.wave_length * fw)) * np.clip(self.down / (0.5 * fw), 0, 1)
        narrow = 1 + cfg.taper * (self.down / rows) ** 2
        start = border.chin + (self.own - border.chin) * narrow - wave * fw
        slope = _row(border.slope, start - _row(border.slope, start) * shift)
        self.start = (start - slope * shift).astype(np.float32)
        """Column at the border from which the strand through each pixel comes."""
        self.noise = self._noise()
        self.tips = self._tips()

    def _noise(self) -> Float[np.ndarray, "r w"]:
        """How far each strand keeps up with the others, -1 to 1, changing slowly along it."""
        rng = np.random.default_rng(0)
        w = len(self.border.hair)
        rows = (_noise_row(rng, (2, w), STRAND * self.fw) + _noise_row(rng, (2, w), CLUMP * self.fw)) / 2**0.5
        turn = self.down / (0.5 * self.fw) * np.pi / 2
        mixed = np.cos(turn) * _row(rows[0], self.start) + np.sin(turn) * _row(rows[1], self.start)
        return np.clip(CALM * mixed, -1, 1)

    def _tips(self) -> Float[np.ndarray, "r w"]:
        """1 along the strands, falling to 0 at their ends, which differ."""
        rng = np.random.default_rng(1)
        lock = _noise_row(rng, (1, len(self.border.hair)), LOCK * self.fw)[0]
        reach = 1 - self.cfg.uneven * (0.5 + 0.5 * np.clip(CALM * lock, -1, 1))
        gone = self.down / self.rows / _row(reach, self.start)
        left = np.clip((1 - gone) / self.cfg.thins, 0, 1)
        return np.clip(1.6 * left - 0.6 * (0.5 + 0.5 * self.noise), 0, 1)

    def _strands(self, columns: Float[np.ndarray, "r w"]) -> Float[np.ndarray, "r w 3"]:
        """The band's strands laid end to end, overlapping, each time some strands aside; contrast is kept."""
        band = self.border.strands
        period = self.cfg.band * self.fw * self.cfg.stretch
        total, power = np.zeros((*columns.shape, 3), np.float32), np.full((self.rows, 1, 1), 1e-6, np.float32)
        for k in range(int(np.ceil(self.rows / period)) + 1):
            along = self.down / period - k + 0.5  # 0 to 1.5, the first half over the one before
            weight = np.clip(np.minimum(along / 0.5, (1.5 - along) / 0.5), 0, 1)[..., None].astype(np.float32)
            aside = self.cfg.aside * self.fw * SIDEWAYS[k % len(SIDEWAYS)]
            y = np.broadcast_to(along / 1.5 * (len(band) - 1), columns.shape).astype(np.float32)
            part = cv2.remap(band, (columns + np.float32(aside)).astype(np.float32), y, cv2.INTER_LINEAR)
            total += weight * part
            power += weight**2
        return total / np.sqrt(power)

    def front(self, neck: bool) -> tuple[UInt8[np.ndarray, "r w 3"], UInt8[np.ndarray, "r w"]]:
        """What lies in front of the neck: the hair, and a little of the photo's neck, which is cut like the rest."""
        border, fw = self.border, self.fw
        onset = (1 - np.exp(-self.down / (SETTLES * fw)))[..., None]
        hair = _row(border.low, self.start) + (1 - onset) * _row(border.fine, self.start)
        hair = hair + onset * self._strands(self.start)
        shade = self.cfg.shade ** np.clip(self.down / (self.cfg.shaded * fw), 0, 1)
        share = np.clip(_row(border.share, self.start) / MOSTLY_HAIR, 0, 1)
        colour = hair * share[..., None] + border.skin[None] * (1 - share[..., None])
        matte = _row(border.matte * border.share, self.start)
        ragged = np.clip(FRINGE[0] * matte - FRINGE[1] - FRINGE[2] * self.noise, 0, 1)
        alpha = (matte + onset[..., 0] * (ragged - matte)) * self.tips
        skin = neck * border.matte[None] * (1 - border.share[None]) * np.clip(1 - self.down / (STUB * fw), 0, 1)
        return _levels(colour, shade[..., None]), _mask(np.maximum(alpha, skin * (1 - share)))

    def back(self) -> tuple[UInt8[np.ndarray, "r w 3"], UInt8[np.ndarray, "r w"]]:
        """What lies behind the neck: hair in its shadow, from the hair of one side to that of the other."""
        hidden = _row(self._span(), self.start)
        smooth, shade = self._shadowed()
        colour = _row(smooth, self.start) + BEHIND * self._strands(self._folded(self.start))
        return _levels(colour, _row(shade, self.start)[..., None]), _mask(hidden * self.tips)

    def back_above(self, photo: ReadyPhoto) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
        """The same beside the photo's neck, which is cut from it: within its head's outline, below the cheeks."""
        h, w = photo.alpha.shape
        inset = np.ones((1, 2 * round(self.cfg.inset * self.fw) + 1), np.uint8)
        solid = photo.alpha >= SOLID
        outline = np.maximum.accumulate(solid, 1) & np.maximum.accumulate(solid[:, ::-1], 1)[:, ::-1]
        inside = cv2.erode(np.pad(outline.astype(np.uint8), ((0, 0), (1, 1))), inset)[:, 1:-1].astype(np.float32)
        rows = np.arange(h, dtype=np.float32)[:, None]
        begins = photo.points[CHIN, 1] - self.cfg.cheek * self.fw
        fades = np.clip((rows - begins) / (CHEEK_EDGE * self.fw), 0, 1)
        upwards = self.border.strands[::-1]
        tiles = np.concatenate([upwards] * (h // len(upwards) + 1))[:h][::-1]
        columns = np.arange(w, dtype=np.float32)[None].repeat(h, 0)
        fine = cv2.remap(tiles, self._folded(columns), rows.repeat(w, 1), cv2.INTER_LINEAR)
        smooth, shade = self._shadowed()
        return _levels(smooth[None] + BEHIND * fine, shade[None, :, None]), _mask(
            blur(inside * self._span(), 1.0) * fades
        )

    def _span(self) -> Float[np.ndarray, "w"]:
        """Columns between the hair of both sides, or between that of one side and the chin."""
        hair, chin = np.flatnonzero(self.border.hair), self.border.chin
        inset = self.cfg.inset * self.fw
        left, right = min(hair[0] + inset, chin), max(hair[-1] - inset, chin)
        x = np.arange(len(self.border.hair), dtype=np.float32)
        return np.clip(np.minimum(x - left, right - x) / (SPAN_EDGE * self.fw) + 0.5, 0, 1).astype(np.float32)

    def _shadowed(self) -> tuple[Float[np.ndarray, "w 3"], Float[np.ndarray, "w"]]:
        """Log colours behind the neck: those of the hair on both sides; and their share, less away from it."""
        lit = blur(self.border.hair.astype(np.float32)[None], 0.06 * self.fw)[0]
        return _blur_rows(self.border.low, 0.08 * self.fw), self.cfg.shadow ** (1 - 0.5 * lit)

    def _folded(self, columns: Float[np.ndarray, "r w"]) -> Float[np.ndarray, "r w"]:
        """A column of hair for every column: the hair's own one after the other, to and fro."""
        hair = np.flatnonzero(self.border.hair).astype(np.float32)
        place = np.abs((columns - hair[0]) % (2 * len(hair)) - len(hair))
        return np.interp(place, np.arange(len(hair)), hair).astype(np.float32)


def _row(values: np.ndarray, columns: Float[np.ndarray, "r w"]) -> np.ndarray:
    """A row (of vectors) at continuous columns; the ends go on."""
    rows = np.zeros_like(columns, np.float32)
    source = np.ascontiguousarray(values[None].astype(np.float32))
    return cv2.remap(source, columns.astype(np.float32), rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _noise_row(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Float[np.ndarray, "n w"]:
    """Smooth noise along rows, of variance 1."""
    noise = rng.standard_normal(shape).astype(np.float32)
    smooth = np.stack([blur(row[None], sigma)[0] for row in noise])
    return smooth / max(float(smooth.std()), 1e-6)


def _levels(logs: Float[np.ndarray, "h w 3"], share: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "h w 3"]:
    return np.clip(np.round((np.exp(logs) - LOG_FLOOR) * share), 0, 255).astype(np.uint8)


def _mask(alpha: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    return np.clip(np.round(255 * alpha), 0, 255).astype(np.uint8)
