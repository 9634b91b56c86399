"""Masks of rendered people against their truth, and what every mask must satisfy."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
import pytest

from gswap.body.models import load_body
from gswap.foundation.errors import InputError
from gswap.foundation.raster import rasterize_mesh
from gswap.foundation.types import FaceTrack
from gswap.people.clips import join_tracks
from gswap.people.motion import MotionConfig, make_motion
from gswap.people.person import make_person
from gswap.people.render import render
from gswap.people.scene import make_scene
from gswap.segmentation.adapters.user import with_user_head
from gswap.segmentation.colors import BACKGROUND, SKIN, ColorCounts, lab_bins
from gswap.segmentation.config import MaskConfig, SegmentationConfig
from gswap.segmentation.layout import (
    NOTHING,
    Crop,
    Sample,
    _parts_seen,
    face_axes,
    face_crop,
    face_parts,
    face_unit,
    lay_out,
    resting_chin,
    yaw_degrees,
)
from gswap.segmentation.masks import HeadSegmenter, Previous, _soften
from gswap.segmentation.person import person_around
from gswap.segmentation.photos import matte_head, prepare_photos
from gswap.segmentation.prior import label_prior, skin_share

SIZE = 224
MODEL = load_body("anny")


@cache
def clip(style, seed, hat="none"):
    """A few frames of a rendered person: the frames with their truth, and what segmentation is given."""
    person = make_person(seed, style=style, hat=hat)
    motion = make_motion(seed, 40, config=MotionConfig(yaw=25))
    scene = make_scene(seed, head_fraction=0.5)
    frames = [render(person, motion[t], scene, SIZE, frame=t) for t in (0, 10, 20)]
    samples = []
    for frame in frames:
        depth = frame.landmarks_3d[:, 2]
        z = (depth - depth.mean()) * frame.camera.focal / depth.mean()
        matte = cv2.GaussianBlur(frame.masks.person, (0, 0), 1.0)  # as soft as a network's
        samples.append(Sample(frame.rgb, np.column_stack([frame.landmarks, z]), matte, frame.mesh, frame.camera))
    return frames, samples


def run(samples, segmenter):
    masks, previous = [], None
    for sample in samples:
        masks.append(segmenter.segment(sample, previous))
        previous = Previous(masks[-1], sample.landmarks)
    return masks


def iou(a, b):
    return ((a > 127) & (b > 127)).sum() / ((a > 127) | (b > 127)).sum()


@pytest.mark.parametrize(("style", "seed", "head", "neck"), [("short", 300, 0.95, 0.7), ("long", 311, 0.93, 0.6)])
def test_masks_agree_with_the_truth(style, seed, head, neck):
    frames, samples = clip(style, seed)
    segmenter = HeadSegmenter.prepare(samples, MODEL)
    assert segmenter.long_hair == (style == "long")
    for mask, frame in zip(run(samples, segmenter), frames, strict=True):
        assert iou(mask.head, frame.masks.head) >= head
        assert iou(mask.neck, frame.masks.neck) >= neck
        assert iou(mask.person, frame.masks.person) >= 0.97
        together = mask.head.astype(int) + mask.neck
        assert together.max() <= 256  # one level of rounding
        assert (together <= mask.person.astype(int) + 1).all()
        soft = (mask.head > 20) & (mask.head < 235)
        assert 0 < soft.mean() < 0.1


@pytest.mark.parametrize(
    ("style", "seed", "hat"), [("short", 300, "cap"), ("short", 300, "beanie"), ("long", 311, "beanie")]
)
def test_a_hat_is_the_heads_and_does_not_hide_how_long_the_hair_is(style, seed, hat):
    frames, samples = clip(style, seed, hat)
    segmenter = HeadSegmenter.prepare(samples, MODEL)
    assert segmenter.long_hair == (style == "long")
    for mask, frame in zip(run(samples, segmenter), frames, strict=True):
        assert iou(mask.head, frame.masks.head) >= 0.92


def with_strip(sample, color, heights):
    """A strip beside the neck, of one colour with the noise of hair; returns the sample and where the strip is."""
    height, side = face_axes(sample.landmarks, sample.rgb.shape)
    strip = (height > heights[0]) & (height < heights[1]) & (np.abs(side - 0.62 + 0.1 * height) < 0.05)
    rgb, person = sample.rgb.copy(), sample.person.copy()
    noise = np.random.default_rng(5).normal(0, 6, (int(strip.sum()), 1))
    rgb[strip] = np.clip(color + noise, 0, 255).astype(np.uint8)
    person[strip] = 255
    return replace(sample, rgb=rgb, person=person), strip & (height < 0)


def of_hair(sample):
    height, side = face_axes(sample.landmarks, sample.rgb.shape)
    return np.median(sample.rgb[(height > 1.1) & (height < 1.25) & (np.abs(side) < 0.2)], axis=0)


@pytest.mark.parametrize(
    ("heights", "color", "share"),
    [((-0.7, 0.75), None, (0.7, 1.0)), ((-0.7, 0.02), None, (0.0, 0.3)), ((-0.7, 0.75), (200, 30, 40), (0.0, 0.3))],
    ids=["a tail", "hangs on nothing", "a strap"],
)
def test_a_tail_below_short_hair_is_the_heads(heights, color, share):
    samples = clip("short", 300)[1][::2]  # in the other one the head turns away from there
    drawn = [with_strip(sample, of_hair(sample) if color is None else np.array(color), heights) for sample in samples]
    segmenter = HeadSegmenter.prepare([sample for sample, _ in drawn], MODEL)
    assert not segmenter.long_hair
    for sample, strip in drawn:
        found = (segmenter.segment(sample).head[strip] > 127).mean()
        assert share[0] <= found <= share[1]


def test_masks_are_deterministic_and_blind_to_later_frames():
    _, samples = clip("short", 300)
    one = run(samples, HeadSegmenter.prepare(samples, MODEL))
    two = run(samples[:2], HeadSegmenter.prepare(samples, MODEL))
    for a, b in zip(one, two, strict=False):
        assert all(np.array_equal(getattr(a, k), getattr(b, k)) for k in ("head", "neck", "person"))


def test_the_previous_frame_steadies_the_masks():
    _, samples = clip("short", 300)
    segmenter = HeadSegmenter.prepare(samples, MODEL)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 14, (4, *samples[0].rgb.shape))
    noisy = [replace(samples[0], rgb=(samples[0].rgb + n).clip(0, 255).astype(np.uint8)) for n in noise]
    kept = [m.head.astype(float) for m in run(noisy, segmenter)]
    alone = [segmenter.segment(s).head.astype(float) for s in noisy]
    change = [np.mean([np.abs(b - a).mean() for a, b in pairwise(m[1:])]) for m in (kept, alone)]
    assert change[0] < change[1]


def test_no_sample_is_an_error():
    with pytest.raises(InputError, match="found none"):
        HeadSegmenter.prepare([], MODEL)


def test_an_open_mouth_moves_neither_the_unit_nor_the_resting_chin():
    _, samples = clip("short", 300)
    points = samples[0].landmarks.copy()
    unit, chin = face_unit(points), resting_chin(points)
    points[152, 1] += 0.4 * unit
    assert face_unit(points) <= 1.12 * unit
    assert np.linalg.norm(resting_chin(points) - chin) <= 0.12 * unit


def test_yaw_is_that_of_the_landmarks():
    points = np.zeros((478, 3))
    angle = np.radians(30)
    points[33], points[263] = (0, 0, 0), (np.cos(angle), 0, np.sin(angle))
    assert yaw_degrees(points) == pytest.approx(30)


@pytest.mark.parametrize("size", [(64, 48), (63, 48), (64, 47), (61, 33), (9, 8)])
def test_the_prior_is_a_probability_at_every_size(size):
    """It is smooth and made of every other pixel, also where rows or columns are odd."""
    _, samples = clip("short", 300)
    layout = lay_out(samples[0], MODEL, face_parts(MODEL), 112)
    part = {
        name: getattr(layout, name)[20 : 20 + size[0], 30 : 30 + size[1]] for name in ("height", "side", "face", "part")
    }
    layout = replace(layout, **part)
    coarse = layout.every_other()
    assert coarse.height.shape == coarse.part.shape == (-(-size[0] // 2), -(-size[1] // 2))
    assert np.array_equal(coarse.side, layout.side[::2, ::2]) and coarse.unit == layout.unit / 2
    for long_hair in (False, True):
        prior = label_prior(layout, long_hair)
        assert prior.shape == (4, *size) and prior.min() >= 0
        np.testing.assert_allclose(prior.sum(0), 1, atol=1e-5)
    share = skin_share(layout)
    assert share.shape == size and 0 <= share.min() and share.max() <= 1


def test_parts_are_drawn_in_every_other_row_and_column():
    _, samples = clip("short", 300)
    sample, parts = samples[0], face_parts(MODEL)
    for width, height in ((SIZE, SIZE), (SIZE - 1, SIZE - 3)):
        camera = replace(sample.camera, width=width, height=height)
        seen = rasterize_mesh(sample.mesh.vertices, MODEL.faces, camera).face
        whole = np.where(seen >= 0, parts[seen], NOTHING)
        found = _parts_seen(sample.mesh, MODEL, parts, camera)
        assert found.shape == (height, width)
        assert (found[::2, ::2] == whole[::2, ::2]).mean() > 0.999
        assert np.array_equal(found[1::2], found[: 2 * (height // 2) : 2])
        assert np.array_equal(found[:, 1::2], found[:, : 2 * (width // 2) : 2])


@pytest.mark.parametrize("place", [(30, 40), (0, 0), (85, 110)])
def test_soft_edges_are_those_of_the_whole_image(place):
    rng = np.random.default_rng(0)
    guide = cv2.GaussianBlur(rng.integers(0, 255, (100, 130, 3), np.uint8), (0, 0), 2)
    mask = np.zeros((100, 130), np.uint8)
    mask[place[0] : place[0] + 15, place[1] : place[1] + 20] = 255
    soft = cv2.ximgproc.guidedFilter(guide, mask, 3, 36.0).astype(float) / 255
    whole = np.clip((soft - 0.06) / 0.88, 0, 1)
    assert np.abs(_soften(guide, mask, 3) / 255 - whole).max() < 0.006
    assert not _soften(guide, np.full_like(mask, 4), 3).any()
    assert (_soften(guide, np.full_like(mask, 255), 3) == 255).all()


def test_a_crop_keeps_a_flat_picture_and_its_places():
    ramp = np.tile(np.arange(90, dtype=np.float32), (60, 1))
    for size in ((30, 20), (15, 10), (12, 8)):
        crop = Crop(20, 10, 60, 40, size)
        taken = crop.take(ramp)
        centres = (np.arange(size[0]) + 0.5) * 60 / size[0] + 20 - 0.5
        assert taken.shape == size[::-1] and np.abs(taken - centres)[:, 1:-1].max() < 1e-3
        assert np.abs(crop.give_back(taken)[:, 5:-5] - ramp[10:50, 25:75]).max() < 0.01


AWAY = [(-2000, 0), (2000, 0), (0, -2000), (0, 2000), (2000, 2000), (SIZE, 0)]
"""Steps in pixels that leave nothing, or next to nothing, of a face in the image."""


@pytest.mark.parametrize("step", AWAY)
def test_a_face_outside_the_image_has_a_crop_and_no_head(step):
    _, samples = clip("short", 300)
    away = replace(samples[0], landmarks=np.add(samples[0].landmarks, (*step, 0)))
    crop = face_crop(away.landmarks, away.rgb.shape, 112)
    assert 0 <= crop.x < crop.x + crop.width <= SIZE and 0 <= crop.y < crop.y + crop.height <= SIZE
    assert crop.take(away.rgb).shape == (*crop.size[::-1], 3)
    masks = HeadSegmenter.prepare(samples, MODEL).segment(away)
    assert not masks.head.any() and not masks.neck.any()


@pytest.mark.filterwarnings("default")  # numba's, from PyMatting
@pytest.mark.parametrize("step", AWAY)
def test_a_mask_away_from_the_face_is_not_matted(step):
    """As a head parser may give it: of somebody else."""
    _, samples = clip("short", 300)
    masks = HeadSegmenter.prepare(samples, MODEL).segment(samples[0])
    away = replace(samples[0], landmarks=np.add(samples[0].landmarks, (*step, 0)))
    matte = matte_head(away, masks, False, 1000)
    assert not matte.alpha.any() and np.array_equal(matte.foreground, away.rgb)


def test_colours_are_told_apart():
    counts = ColorCounts()
    images = {SKIN: (200, 150, 130), BACKGROUND: (40, 160, 60)}
    for material, colour in images.items():
        image = np.full((8, 8, 3), colour, np.uint8)
        counts.add(material, lab_bins(image), np.ones((8, 8)))
    table = counts.densities()
    for material, colour in images.items():
        density = table[lab_bins(np.full((1, 1, 3), colour, np.uint8))][0, 0]
        assert density.argmax() == material


def test_a_users_head_replaces_ours_and_what_covers_it_stays_in_front():
    frames, samples = clip("short", 300)
    ours = HeadSegmenter.prepare(samples, MODEL).segment(samples[0])
    given = frames[0].masks.head.copy()
    given[100:110] = 0  # something in front of the face
    masks = with_user_head(ours, given)
    assert np.array_equal(masks.head, given)
    assert not ((masks.neck.astype(int) + masks.head) > 255).any()
    assert (masks.person[100:110][frames[0].masks.head[100:110] > 200] > 127).all()
    with pytest.raises(InputError, match="Expected a mask of 224x224"):
        with_user_head(ours, given[:50])


def test_the_matte_is_taken_around_the_head():
    seen = []

    def matte(image):
        seen.append(image.shape[:2])
        return np.full(image.shape[:2], 200 if image.shape[0] == image.shape[1] else 10, np.uint8)

    points = clip("short", 300)[1][0].landmarks * (0.3, 0.3, 0.3) + (300, 60, 0)
    out = person_around(np.zeros((200, 600, 3), np.uint8), points, matte)
    x, y = points[1, :2].astype(int)
    assert out.shape == (200, 600) and out[y, x] == 200 and out[0, 0] == 10
    assert seen[0][0] == seen[0][1] < 200


def test_a_narrow_image_is_matted_once_on_a_square_that_holds_it():
    seen = []

    def matte(image):
        seen.append(image.shape[:2])
        return image[..., 0]

    points = clip("short", 300)[1][0].landmarks
    image = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE // 2 + 8, 3), dtype=np.uint8)
    assert np.array_equal(person_around(image, points - (50, 0, 0), matte), image[..., 0])
    assert seen == [(SIZE, SIZE)]


@pytest.fixture(scope="module")
def photo_set():
    frames, samples = clip("short", 300)
    n = len(frames)
    faces = FaceTrack(
        landmarks=np.stack([s.landmarks for s in samples]), valid=np.ones(n, bool), confidence=np.ones(n),
        bridged=np.zeros(n, bool), duplicate=np.zeros(n, bool), shoulders=np.zeros((n, 2, 3)),
        embedding=np.full((n, 128), np.nan), sharpness=np.ones(n), size=(SIZE, SIZE), sizes=((SIZE, SIZE),) * n,
    )  # fmt: skip
    images, mattes = [f.rgb for f in frames], [s.person for s in samples]
    body = join_tracks(list(frames))
    return frames, (images, faces, body, MODEL, mattes)


@pytest.mark.filterwarnings("default")  # numba's, from PyMatting
def test_photos_lose_their_background(photo_set):
    frames, arguments = photo_set
    photos = prepare_photos(*arguments)
    assert not photos.long_hair
    for k, frame in enumerate(frames):
        truth = frame.masks.head.astype(float) + frame.masks.neck
        error = np.abs(photos.alpha[k] - truth.clip(0, 255)) / 255
        assert error.mean() < 0.02
        clothes = frame.masks.clothes > 200
        assert (photos.alpha[k][clothes] > 127).mean() < 0.02
        opaque = photos.alpha[k] == 255
        assert np.array_equal(photos.foreground[k][opaque], frame.rgb[opaque])


def test_a_photo_without_a_face_is_refused(photo_set):
    images, faces, body, model, mattes = photo_set[1]
    lost = replace(faces, valid=np.array([True, False, True]))
    with pytest.raises(InputError, match="photo 2"):
        prepare_photos(images, lost, body, model, mattes, SegmentationConfig(masks=MaskConfig(long_hair=False)))
