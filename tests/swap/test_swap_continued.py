"""Long hair that the photos' lower border cuts."""

from __future__ import annotations

import dataclasses
from functools import cache

import cv2
import numpy as np
import pytest

from gswap.body.models import load_body
from gswap.foundation.imaging import over
from gswap.foundation.landmarks import CHIN
from gswap.foundation.types import FaceTrack, PhotoSet, Shot, TargetSet, Window
from gswap.people.clips import join_tracks
from gswap.people.motion import MotionConfig, make_motion
from gswap.people.person import make_person
from gswap.people.render import render
from gswap.people.scene import make_scene
from gswap.swap.config import FallConfig, SwapConfig
from gswap.swap.embedded.continued import continued
from gswap.swap.embedded.densemap import _hang
from gswap.swap.embedded.falling import _swept, with_back
from gswap.swap.embedded.photos import Cut
from gswap.swap.embedded.regions import FaceRuler, extend_nearest
from gswap.swap.embedded.swapper import EmbeddedSwapper

SIZE = 256
OFF = SwapConfig(fall=FallConfig(widest=np.inf))
"""No hair goes on."""


@cache
def pictures(seed, style, numbers=(0, 12)):
    """Frames of a rendered person with their truth."""
    person, motion = make_person(seed, style=style), make_motion(seed, 40, config=MotionConfig(yaw=10))
    scene = make_scene(seed, head_fraction=0.42)
    return [render(person, motion[t], scene, SIZE, frame=t) for t in numbers]


def track(frames, rows):
    """Their faces, in pictures without ``rows`` rows above and below."""
    count, height = len(frames), SIZE - 2 * rows
    depths = [f.landmarks_3d[:, 2] for f in frames]
    marks = [
        np.column_stack([f.landmarks - [0, rows], (z - z.mean()) * f.camera.focal / z.mean()])
        for f, z in zip(frames, depths, strict=True)
    ]
    known, nothing = np.ones(count, bool), np.zeros(count, bool)
    empty, size = np.zeros((count, 2, 3)), (SIZE, height)
    return FaceTrack(
        np.stack(marks), known, np.ones(count), nothing, nothing, empty, np.zeros((count, 128)), np.zeros(count),
        size, (Shot(0, count),), (size,) * count,
    )  # fmt: skip


def photo_set(frames, rows):
    """Photos of long hair without ``rows`` rows above and below, so that the camera still looks at their middle."""
    part = slice(rows, SIZE - rows)
    heads = [np.maximum(f.masks.head, f.masks.neck)[part] for f in frames]
    rgb = [np.ascontiguousarray(f.rgb[part]) for f in frames]
    inside = [cv2.erode(head, np.ones((3, 3), np.uint8)) > 127 for head in heads]
    colours = tuple(extend_nearest(image, known) for image, known in zip(rgb, inside, strict=True))
    person = tuple(np.ascontiguousarray(f.masks.person[part]) for f in frames)
    return PhotoSet(tuple(rgb), tuple(heads), person, tuple(heads), colours, long_hair=True)


NECK = 34
"""Rows between chin and clothes: the long neck of the target leaves a gap beside it."""


@cache
def long_necked():
    """A short-haired person whose clothes begin further down: as the swapper takes a target."""
    frames = pictures(300, "short")
    window = Window(np.zeros(2, int), np.zeros(2, int), SIZE, SIZE)
    stores: list[list[np.ndarray]] = [[], [], [], [], []]
    for frame in frames:
        masks = frame.masks
        covered = cv2.max(masks.head, masks.neck)
        torso = cv2.subtract(masks.person, covered)
        torso[: round(frame.landmarks[CHIN, 1]) + NECK] = 0
        behind = np.where(torso[..., None] > 127, frame.rgb, frame.plate)
        rgb = np.where(covered[..., None] > 0, frame.rgb, behind)
        for store, image in zip(stores, (rgb, masks.head, masks.neck, cv2.max(covered, torso), behind), strict=True):
            store.append(image)
    rgb, head, neck, person, plate = stores
    return TargetSet(window, rgb, head, neck, person, plate)


def swapper(source, rows, cfg=None):
    """The long-haired person's head on the long-necked one."""
    target, clip = pictures(300, "short"), long_necked()
    body = join_tracks(source)
    body = dataclasses.replace(body, sizes=np.tile([SIZE, SIZE - 2 * rows], (len(source), 1)))
    photos = photo_set(source, rows), track(source, rows), body
    return EmbeddedSwapper(clip, track(target, 0), join_tracks(target), *photos, load_body("anny"), cfg)


def border_row(source):
    """Rows to leave out so that the photos end just below the chin."""
    return int(SIZE - max(f.landmarks[CHIN, 1] for f in source) - 3)


@pytest.fixture(scope="module")
def cut():
    """The swapped frame of photos that end at the neck, the same without our guess, and of whole photos."""
    source = pictures(311, "long")
    rows = border_row(source)
    return swapper(source, rows).frame(0), swapper(source, rows, OFF).frame(0), swapper(source, 0).frame(0)


@pytest.fixture(scope="module")
def gap(cut):
    """Where whole photos show hair before the background, between chin and shoulders."""
    target = long_necked()
    height, _ = FaceRuler.of(pictures(300, "short")[0].landmarks).axes(SIZE, SIZE)
    return (cut[2].head > 200) & (target.person[0] < 10) & (height < -0.08)


def test_hair_goes_on_where_whole_photos_show_it(cut, gap):
    guessed, blunt, whole = cut
    assert gap.sum() > 200
    assert (guessed.head[gap] > 128).mean() > 0.8
    assert (blunt.head[gap] > 128).mean() < 0.1
    hair, found = (np.median(f.rgb[gap].astype(float), 0) for f in (whole, guessed))
    background = np.median(long_necked().plate[0][gap].astype(float), 0)
    assert np.linalg.norm(found - hair) < 0.35 * np.linalg.norm(background - hair)


def test_no_edge_is_left_at_the_border(cut, gap):
    guessed, blunt, _ = cut
    columns = gap.any(0)
    rows = np.flatnonzero(gap.any(1))
    near = np.s_[rows[0] - 12 : rows[0] + 12]

    def steepest(frame):
        """The largest fall of the hair's mean matte from a row to the next."""
        return -np.diff(frame.head[near][:, columns].astype(float).mean(1)).min()

    assert steepest(guessed) < 0.5 * steepest(blunt)


def test_it_goes_behind_the_clothes_and_is_trusted_less(cut):
    guessed, blunt, _ = cut
    target = long_necked()
    covered = cv2.max(target.head[0], target.neck[0])
    clothes = cv2.erode(cv2.subtract(target.person[0], covered), np.ones((5, 5), np.uint8)) > 250
    new = (guessed.head > 240) & (blunt.head < 10)
    assert new.sum() > 200 and not (new & clothes).any()
    kept = clothes & (guessed.neck == 0)
    assert np.abs(guessed.rgb[kept].astype(int) - target.rgb[0][kept]).max() <= 1
    assert np.median(guessed.confidence[new]) < 100


def test_hair_that_ends_in_the_photo_is_left_alone():
    source = pictures(241, "bob")
    assert all(f.masks.hair[-24:].max() == 0 for f in source)
    with_it, without = swapper(source, 0), swapper(source, 0, OFF)
    assert not any("hair ends" in advice for advice in with_it.advice())
    for t in (0, 1):
        one, other = with_it.frame(t), without.frame(t)
        for field in dataclasses.fields(one):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_the_advice_names_the_cut_photos():
    source = pictures(311, "long")
    advice = swapper(source, border_row(source)).advice()
    assert sum("2 of 2 photos" in line and "hair ends" in line for line in advice) == 1


def test_a_layer_behind_the_neck_folded_into_the_head_looks_as_three_layers_do():
    rng = np.random.default_rng(0)
    head, neck, cover = rng.random((3, 8, 8)).astype(np.float32)
    colour, skin, hair, plate = (255 * rng.random((4, 8, 8, 3))).astype(np.float32)
    expected = over(colour, head, over(skin, neck, over(hair, cover, plate)))
    mixed, whole, lower, share = with_back(colour, head, neck, (hair, cover))
    np.testing.assert_allclose(over(mixed, whole, over(skin, lower, plate)), expected, atol=1e-2)
    np.testing.assert_allclose(whole * share, (1 - head) * (1 - neck) * cover, atol=1e-5)


def test_a_dark_strip_at_the_border_does_not_go_on():
    """The last rows are of the hair's colour, but nothing comes down to them: the photo fades out as it used to."""
    source = pictures(311, "long")
    whole = swapper(source, border_row(source)).plan.photos[0]
    assert whole.fall is not None
    photo, h = dataclasses.replace(whole, fall=None), int(whole.fall.border)
    colours, matte = photo.foreground[:h].copy(), np.full_like(photo.alpha[:h], 255)
    ruler = FaceRuler.of(photo.points)
    heights = ruler.heights(h, matte.shape[1])
    colours[heights < 0.3] = (150, 100, 80)
    colours[-3:] = 10
    strip = continued(dataclasses.replace(photo, foreground=colours, alpha=matte, cut=Cut(False)), FallConfig())
    assert strip.fall is None and strip.alpha.shape == matte.shape
    assert strip.alpha[-1].max() == 0 and (strip.alpha[h // 2] == 255).all()


def test_hair_goes_back_behind_the_neck_and_stays_beside_it():
    neck = np.zeros((120, 120), np.float32)
    neck[:, 40:80] = 1
    below = np.broadcast_to((np.arange(120, dtype=np.float32)[:, None] - 30) / 100, neck.shape)
    hidden = _swept(below, neck, 100.0)
    assert hidden[:30].max() == 0  # the photo's own
    assert hidden[:, :38].max() < 0.1 and hidden[:, 82:].max() < 0.1
    assert hidden[60:, 46:74].min() == 1
    assert hidden[36, 44] == 0 and hidden[60, 44] > 0.9


def test_hair_hangs_down_however_the_head_is_tilted():
    lean = 0.3  # the photo's columns lean in the output
    y, x = np.mgrid[:100, :100].astype(np.float32)
    field = np.stack([x + lean * y, y], -1)
    before = field.copy()
    _hang(field, 40.0, np.array([lean, 1.0, 0.0]), 20.0)
    np.testing.assert_array_equal(field[:40], before[:40])
    assert np.abs(np.diff(field[70:, 50, 0])).max() < 0.02
    assert np.abs(np.diff(field[:, 50, 0], 2)).max() < 0.1
