from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gswap.apps.bench.watermark import recode
from gswap.foundation.errors import UsageError
from gswap.output import watermark, watermark_bench
from gswap.output.watermark import HALF_PERIOD, embed
from gswap.output.watermark_bench import BenchClip
from gswap.output.watermark_detect import FALSE_ID, detect

FPS = 25
THRESHOLD = watermark.score_threshold(4, FALSE_ID)
IDENTIFIER = 0x5AC3F1


def moving_clip(size: tuple[int, int], seconds: float, seed: int = 0) -> list[np.ndarray]:
    """A textured, noiseless backdrop with a disc that wanders over it."""
    width, height = size
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.uniform(0, 255, (height, width)), (0, 0), 4)
    backdrop = np.clip(120 + 3 * (texture - texture.mean()), 20, 235).astype(np.uint8)
    frames = []
    for i in range(round(seconds * FPS)):
        frame = backdrop.copy()
        centre = (int(width * (0.5 + 0.08 * np.sin(i / 20))), int(height * (0.5 + 0.05 * np.cos(i / 13))))
        cv2.circle(frame, centre, height // 4, [150 + i % 2], -1, cv2.LINE_AA)
        frames.append(frame)
    return frames


def timed(frames: Sequence[np.ndarray]) -> list[tuple[float, np.ndarray]]:
    return [(i / FPS, frame) for i, frame in enumerate(frames)]


def marked(frames: Sequence[np.ndarray]) -> list[tuple[float, np.ndarray]]:
    return [(t, embed(frame, t, IDENTIFIER)) for t, frame in timed(frames)]


# ---------------------------------------------------------------- code
@given(st.integers(0, (1 << 24) - 1))
@settings(max_examples=50)
def test_ids_survive_the_code_under_noise(identifier: int) -> None:
    tile = watermark.tile(identifier)
    assert set(np.unique(tile)) == {-1, 1}
    assert watermark.decode_tile(tile)[0] == identifier
    noisy = 0.3 * tile + np.random.default_rng(identifier).normal(size=tile.shape)
    found, score = watermark.decode_tile(noisy)
    assert found == identifier and score > THRESHOLD


def pictures() -> Iterator[np.ndarray]:
    """Tiles that no key made: noise of several kinds, and regular content."""
    rng = np.random.default_rng(0)
    across, down = np.meshgrid(np.arange(64), np.arange(64))
    for k in range(120):
        yield rng.normal(scale=10, size=(64, 64))
        yield rng.standard_cauchy((64, 64)).clip(-50, 50)
        yield cv2.GaussianBlur(rng.normal(size=(64, 64)), (0, 0), 0.5 + k / 40)
        yield np.sin(2 * np.pi * (across * (k % 11) + down * (k % 7)) / 64 + k)
    yield np.ones((64, 64))
    yield (across + down) % 2 - 0.5
    yield np.eye(64)


def test_whatever_the_picture_chance_stays_below_the_thresholds() -> None:
    tiles = list(pictures())
    assert max(watermark.decode_tile(tile)[1] for tile in tiles) < THRESHOLD
    pilot = np.array([watermark.pilot_score(tile) for tile in tiles])
    assert pilot.std() == pytest.approx(1, abs=0.15) and abs(pilot).max() < watermark.pilot_threshold(1, FALSE_ID)


def test_the_thresholds_keep_their_promise_where_it_can_be_counted() -> None:
    """Over many keys, a fixed picture's score exceeds the bound for one codeword no more often than it says."""
    picture = cv2.GaussianBlur(np.random.default_rng(1).standard_cauchy(3072).clip(-20, 20), (0, 0), 2).ravel()
    signs = np.random.default_rng(2).choice([-1.0, 1.0], (4000, picture.size))
    scores = signs @ picture / np.linalg.norm(picture)
    for limit in (1.0, 2.0, 3.0):
        assert (scores >= limit).mean() <= np.exp(-(limit**2) / 2)


@pytest.mark.parametrize("identifier", [0, 1, 0xFF, 0x100, 0xABCDEF, (1 << 24) - 1])
def test_the_checksum_of_many_ids_is_that_of_each(identifier: int) -> None:
    assert watermark._crc_of(np.array([identifier]))[0] == watermark._crc(identifier)


def test_an_id_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="expected 0 to 16777215"):
        watermark.tile(1 << 24)


# ---------------------------------------------------------------- embedding
@pytest.mark.parametrize("bit_depth", [8, 10, 12])
@pytest.mark.parametrize("kind", ["flat", "clip", "noise"])
def test_every_frame_keeps_46_decibel(bit_depth: int, kind: str) -> None:
    rng = np.random.default_rng(0)
    eight = {
        "flat": np.full((270, 480), 90, np.uint8),
        "clip": moving_clip((480, 270), 0.04)[0],
        "noise": rng.integers(0, 255, (270, 480)).astype(np.uint8),
    }[kind]
    luma = eight if bit_depth == 8 else eight.astype(np.uint16) << (bit_depth - 8)
    out = embed(luma, 0.0, IDENTIFIER, bit_depth=bit_depth)
    assert out.dtype == luma.dtype and out.max() < 1 << bit_depth
    error = np.mean((out.astype(float) - luma) ** 2)
    assert 10 * np.log10((255 << (bit_depth - 8)) ** 2 / error) >= 46
    assert error > 0.1 * (1 << (bit_depth - 8)) ** 2, "and is there at all"


def test_the_mark_stays_within_the_range_of_the_samples() -> None:
    for value, dtype, depth in ((255, np.uint8, 8), (0, np.uint8, 8), (1023, np.uint16, 10)):
        out = embed(np.full((64, 64), value, dtype), 0.0, IDENTIFIER, bit_depth=depth)
        assert out.min() >= 0 and abs(out.astype(int) - value).max() < 20


def test_the_sign_follows_presentation_time() -> None:
    assert [watermark.sign_at(t) for t in (0, 0.39, HALF_PERIOD, 0.79, 0.8)] == [1, 1, -1, -1, 1]
    luma = moving_clip((256, 256), 0.04)[0]
    up, down = (embed(luma, t, IDENTIFIER).astype(float) - luma for t in (0.0, HALF_PERIOD))
    assert np.corrcoef(up.ravel(), down.ravel())[0, 1] < -0.8


def test_same_input_same_bytes() -> None:
    luma = moving_clip((128, 96), 0.04)[0]
    assert (embed(luma, 0.1, 7) == embed(luma, 0.1, 7)).all()


# ---------------------------------------------------------------- detection
@pytest.fixture(scope="module")
def clip() -> list[np.ndarray]:
    return moving_clip((384, 320), 4)


def test_the_matrix(clip: list[np.ndarray]) -> None:
    source = BenchClip("disc", clip, [t for t, _ in timed(clip)])
    rows = list(watermark_bench.bench(source, IDENTIFIER, recode))
    matrix = watermark_bench.figures(rows)
    assert list(matrix) == ["none", "crf 28", "half size", "crop 80%", "cut 3 s", "half + crf 28", "crop + crf 28"]
    assert all(row.correct for row in rows), watermark_bench.format_matrix(matrix)
    assert all(found.share == 1 and found.lowest_score > THRESHOLD for found in matrix.values())
    assert rows[0].psnr >= 46
    assert next(row for row in rows if row.attack == "crop 80%").result.scale == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("start", [0.0, 0.12, 0.28, 0.4, 0.56, 0.72])
def test_a_cut_anywhere_is_found(clip: list[np.ndarray], start: float) -> None:
    frames = [frame for t, frame in marked(clip) if t >= start][: 2 * FPS]
    assert detect(timed(frames)).identifier == IDENTIFIER


def test_variable_frame_rate(clip: list[np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 4, 60))
    frames = [(t, embed(clip[int(t * FPS)], t - times[0], IDENTIFIER)) for t in times]
    assert detect(frames).identifier == IDENTIFIER


def test_ten_bit_video(clip: list[np.ndarray]) -> None:
    frames = [
        (t, embed(frame.astype(np.uint16) << 2, t, IDENTIFIER, bit_depth=10)) for t, frame in timed(clip[: 3 * FPS])
    ]
    assert detect(frames).identifier == IDENTIFIER


def test_planar_rgb(clip: list[np.ndarray]) -> None:
    def luma(t: float, frame: np.ndarray) -> np.ndarray:
        planes = [np.minimum(frame, 245) + 10, frame, np.maximum(frame, 10) - 10, np.full_like(frame, 7)]
        *colors, alpha = watermark.embed_rgb(planes, t, IDENTIFIER)
        assert (alpha == 7).all()
        return cv2.cvtColor(np.dstack(colors), cv2.COLOR_BGR2GRAY)

    assert detect([(t, luma(t, frame)) for t, frame in timed(clip[: 3 * FPS])]).identifier == IDENTIFIER


def test_a_clip_marked_twice_gives_one_of_its_ids(clip: list[np.ndarray]) -> None:
    twice = [(t, embed(frame, t, 0x123456)) for t, frame in marked(clip)]
    result = detect(twice)
    assert result.found and result.identifier in (IDENTIFIER, 0x123456, None)


@pytest.mark.parametrize("seconds", [0, 0.04, 0.5])
def test_too_short_is_not_found(seconds: float, clip: list[np.ndarray]) -> None:
    assert not detect(marked(clip[: round(seconds * FPS)])).found


def test_reading_stops_where_told(clip: list[np.ndarray]) -> None:
    result = detect(marked(clip), max_seconds=2)
    assert result.identifier == IDENTIFIER and result.seconds <= 2.2


@pytest.mark.parametrize("seed", range(3))
def test_unmarked_clips_are_not_accused(seed: int) -> None:
    frames = moving_clip((256, 256), 3, seed)
    rng = np.random.default_rng(seed)
    pulse = 4 * np.sin(np.arange(len(frames)))
    noise = [rng.normal(0, 2, frame.shape) for frame in frames]
    flicker = [np.clip(f + p + n, 0, 255).astype(np.uint8) for f, p, n in zip(frames, pulse, noise, strict=True)]
    assert not detect(timed(frames)).found and not detect(timed(flicker)).found
