from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from swap_scenes import SIZE

from gswap.foundation.errors import InputError, MissingInputError
from gswap.foundation.types import Shot, TargetSet, Window
from gswap.swap.baselines.warp import WarpSwapper
from gswap.swap.config import SwapConfig
from gswap.swap.embedded.regions import oval_mask
from gswap.swap.embedded.swapper import EmbeddedSwapper
from gswap.swap.generated import GeneratedFrames


def make(model, target, photos, cfg=None) -> EmbeddedSwapper:
    return EmbeddedSwapper(
        target.target(), target.faces, target.body, photos.photos(), photos.faces, photos.body, model, cfg
    )


def face_area(scene, t):
    return oval_mask(scene.faces.landmarks[t][:, :2], SIZE, SIZE) > 0.5


def psnr(a, b, mask):
    error = (a[mask].astype(np.float64) - b[mask]) ** 2
    return 10 * np.log10(255**2 / error.mean())


@pytest.fixture(scope="module")
def crossed(model, clip, people):
    return make(model, clip, people)


@pytest.mark.parametrize("t", [0, 2, 3, 5])
def test_the_target_frame_as_photo_gives_the_frame_back(model, clip, t):
    frame = make(model, clip, clip.pick([t])).frame(t)
    assert psnr(frame.rgb, clip.rgb[t], face_area(clip, t)) >= 35


@pytest.mark.parametrize(
    "shown",
    [(1, 1, 224, 223), (112, 0, 224, 224), (0, 0, 224, 165), (0, 172, 224, 224), (0, 0, 75, 224)],
)
def test_what_the_window_cuts_off_is_not_missed(model, clip, people, shown):
    """A face half beside the window, without its mouth, without its eyes, a sliver of it."""
    x0, y0, x1, y1 = shown
    window = Window(np.full(8, x0), np.full(8, y0), x1 - x0, y1 - y0)
    stores = (clip.rgb, clip.head, clip.neck, clip.person, clip.plate)
    target = TargetSet(window, *([np.ascontiguousarray(image[y0:y1, x0:x1]) for image in store] for store in stores))
    photos = people.photos(), people.faces, people.body
    swapper = EmbeddedSwapper(target, clip.faces, clip.body, *photos, model)
    whole = make(model, clip, people).frame(3)
    frame = swapper.frame(3)
    assert frame.rgb.shape == (y1 - y0, x1 - x0, 3)
    solid = whole.head[y0:y1, x0:x1] > 250
    assert (frame.head[solid] > 250).sum() >= 0.9 * solid.sum()


def test_all_frames_as_photos_give_the_clip_back(model, clip):
    swapper = make(model, clip, clip)
    for t in (0, 3, 7):
        assert psnr(swapper.frame(t).rgb, clip.rgb[t], face_area(clip, t)) >= 35


def test_the_new_head_has_the_sources_complexion(crossed, clip, people):
    frame = crossed.frame(0)
    face = face_area(clip, 0)
    new = frame.rgb[face].astype(float).mean(0)
    old, source = clip.rgb[0][face].astype(float).mean(0), people.rgb[0][face_area(people, 0)].astype(float).mean(0)
    assert np.linalg.norm(new - source) < 0.75 * np.linalg.norm(old - source)
    assert (frame.head[face] > 250).mean() > 0.95


def test_outside_head_and_neck_the_target_stays(crossed, clip):
    t = 1
    frame = crossed.frame(t)
    away = (clip.head[t] == 0) & (clip.neck[t] == 0) & (frame.head == 0) & (frame.neck == 0)
    change = np.abs(frame.rgb.astype(int) - clip.rgb[t]).max(-1)
    assert away.mean() > 0.2 and np.percentile(change[away], 95) <= 4
    assert np.array_equal(
        frame.rgb[(frame.head == 0) & (frame.neck == 0)], frame.plate[(frame.head == 0) & (frame.neck == 0)]
    )


def test_head_and_neck_are_apart_and_cover_the_targets(crossed, clip):
    frame = crossed.frame(0)
    neck = clip.neck[0] > 0
    assert (np.maximum(frame.neck, frame.head)[neck] > 128).mean() > 0.7
    assert frame.neck[face_area(clip, 0)].mean() < frame.head[face_area(clip, 0)].mean()
    low = frame.confidence[(frame.head < 20) & (frame.neck > 200)]
    assert frame.confidence[face_area(clip, 0)].mean() > 180 and low.size


def test_same_input_same_bytes(model, clip, people, crossed):
    again = make(model, clip, people)
    again.frame(0)
    for t in (3, 6):
        for a, b in zip(dataclasses.astuple(crossed.frame(t)), dataclasses.astuple(again.frame(t)), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("mouth", ["source", "target", "procedural"])
def test_every_kind_of_mouth_fills_the_opening(model, clip, people, mouth):
    frame = make(model, clip, people, SwapConfig(mouth=mouth)).frame(3)
    assert np.isfinite(frame.rgb).all() and frame.rgb.shape == (SIZE, SIZE, 3)
    assert frame.confidence[face_area(clip, 3)].min() < 120  # no photo shows this mouth open


def test_advice_and_choice(crossed):
    assert any("mouth open" in line for line in crossed.advice())
    assert any("eyes closed" in line for line in crossed.advice())
    choice = crossed.choice(0)
    assert choice["base"] == 0 and 0 <= choice["angle"] < 10


def test_a_hand_before_the_face_stays_in_front(model, clip, people):
    t = 0
    centre = clip.faces.landmarks[t][:, :2].mean(0).astype(int)
    hand = np.zeros((SIZE, SIZE), bool)
    hand[centre[1] - 4 : centre[1] + 70, centre[0] - 8 : centre[0] + 20] = True
    hand &= clip.person[t] > 0
    rgb, head, neck = list(clip.rgb), list(clip.head), list(clip.neck)
    rgb[t] = np.where(hand[..., None], np.array([240, 200, 60], np.uint8), rgb[t])
    head[t], neck[t] = np.where(hand, 0, head[t]), np.where(hand, 0, neck[t])
    covered = dataclasses.replace(clip, rgb=rgb, head=head, neck=neck)
    frame = make(model, covered, people).frame(t)
    inside = cv2.erode((hand & face_area(clip, t)).astype(np.uint8), np.ones((5, 5))) > 0
    assert inside.sum() > 200
    assert np.array_equal(frame.rgb[inside], rgb[t][inside])
    assert frame.head[inside].max() == 0
    without = make(model, covered, people, SwapConfig(occluders=False)).frame(t)
    assert np.median(without.head[inside]) == 255


def test_frames_without_a_face_are_refused(model, clip, people):
    landmarks = clip.faces.landmarks.copy()
    landmarks[4] = np.nan
    faces = dataclasses.replace(clip.faces, landmarks=landmarks, shots=(Shot(0, 6), Shot(6, 8)))
    swapper = make(model, dataclasses.replace(clip, faces=faces), people)
    with pytest.raises(InputError, match="face"):
        swapper.frame(4)
    assert swapper.frame(6).head.max() == 255
    nobody = dataclasses.replace(people.faces, landmarks=np.full_like(people.faces.landmarks, np.nan))
    with pytest.raises(InputError, match="source photos"):
        make(model, clip, dataclasses.replace(people, faces=nobody))


def test_nothing_leaks_across_a_cut(model, clip, people):
    """The frames of one shot do not depend on the other shot's expression."""
    twice = clip.pick([0, 1, 2, 3, 5, 6])
    cut = (Shot(0, 3), Shot(3, 6))
    a = dataclasses.replace(twice, faces=dataclasses.replace(twice.faces, shots=cut))
    one = make(model, a, people).plan.posed.local[2]
    whole = make(model, twice, people).plan.posed.local[2]
    assert np.abs(one - whole).max() > 1e-5  # without the cut the open mouth of frame 3 is smoothed in


def test_generated_frames_are_cut_and_masked(clip, tmp_path):
    target = clip.target()
    window = dataclasses.replace(target.window, x=np.full(8, 16), y=np.full(8, 8), width=96, height=112)
    small = dataclasses.replace(
        target,
        window=window,
        **{n: [im[8:120, 16:112] for im in getattr(target, n)] for n in ("rgb", "head", "neck", "person", "plate")},
    )
    image = 255 - clip.rgb[1]
    cv2.imwrite(str(tmp_path / "frame_0001.png"), image[..., ::-1])
    (tmp_path / "head").mkdir()
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[40:90, 40:90] = 255
    cv2.imwrite(str(tmp_path / "head" / "1.png"), mask)
    generated = GeneratedFrames(tmp_path, small, clip.faces)
    assert 1 in generated and 2 not in generated
    frame = generated.frame(1)
    inside = frame.head == 255
    assert np.array_equal(frame.rgb[inside], image[8:120, 16:112][inside])
    assert np.array_equal(frame.rgb[~inside], small.rgb[1][~inside])
    with pytest.raises(MissingInputError):
        generated.frame(2)
    cv2.imwrite(str(tmp_path / "3.png"), np.zeros((50, 60, 3), np.uint8))
    with pytest.raises(InputError, match="found 60x50"):
        GeneratedFrames(tmp_path, small, clip.faces).frame(3)
    with pytest.raises(MissingInputError):
        GeneratedFrames(Path(tmp_path / "nowhere"), small, clip.faces)


def test_generated_frames_without_masks_keep_the_background(clip, tmp_path):
    generated = clip.rgb[0].copy()
    face = face_area(clip, 0)
    generated[face] = 255 - generated[face]
    cv2.imwrite(str(tmp_path / "0.png"), generated[..., ::-1])
    frame = GeneratedFrames(tmp_path, clip.target(), clip.faces).frame(0)
    inner = cv2.erode(face.astype(np.uint8), np.ones((15, 15))) > 0
    assert np.array_equal(frame.rgb[inner], generated[inner])
    assert np.array_equal(frame.rgb[:20, :20], clip.rgb[0][:20, :20])


def test_the_naive_warp_pastes_a_head(clip, people):
    swapper = WarpSwapper(clip.target(), clip.faces, people.photos(), people.faces)
    frame = swapper.frame(0)
    face = face_area(clip, 0)
    source = people.rgb[0][face_area(people, 0)].astype(float).mean(0)
    assert np.linalg.norm(frame.rgb[face].astype(float).mean(0) - source) < 12
    itself = WarpSwapper(clip.target(), clip.faces, clip.pick([0]).photos(), clip.pick([0]).faces).frame(0)
    assert psnr(itself.rgb, clip.rgb[0], face) > 35
