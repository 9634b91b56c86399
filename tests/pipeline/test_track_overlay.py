"""What ``gswap track`` draws, and the user's own head masks in the overlay, the stored masks and the plate."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gswap.body.draw import BAR_HEIGHT
from gswap.foundation.errors import InputError, OutputError, UsageError
from gswap.foundation.imaging import fill_polygon
from gswap.foundation.store import encode_png, read_window
from gswap.foundation.types import Masks, Window
from gswap.media.probe import probe
from gswap.media.read import VideoReader
from gswap.pipeline.masking import cut
from gswap.pipeline.observer import StepObserver
from gswap.pipeline.overlay import OUTLINES, draw_masks, write_overlay
from gswap.pipeline.runner import run
from gswap.pipeline.steps import ingest, perceive, segment, track
from gswap.pipeline.workspace import Workspace

HEAD = np.array(OUTLINES["head"])


def images_of(path):
    with VideoReader(probe(path)) as reader:
        return [frame.rgb for frame in reader.frames()]


@pytest.fixture(scope="module")
def disc_folder(small, tmp_path_factory):
    """Head masks by hand: the same disc in every frame."""
    folder = tmp_path_factory.mktemp("masks")
    info = probe(small.inputs.target)
    angle = np.linspace(0, 2 * np.pi, 90)
    radius = 0.17 * info.width
    disc = np.column_stack([np.cos(angle), np.sin(angle)]) * radius + (0.5 * info.width, 0.4 * info.height)
    mask = np.round(255 * fill_polygon(disc, info.height, info.width)).astype(np.uint8)
    for t in range(info.frame_count):
        (folder / f"m{t:03d}.png").write_bytes(encode_png(mask))
    return folder, mask


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_outlines_lie_on_the_borders_of_the_masks(scale):
    window = Window(np.array([20]), np.array([30]), 80, 60, scale)
    side = (round(60 * scale), round(80 * scale))
    square = np.zeros(side, np.uint8)
    square[round(10 * scale) : round(40 * scale), round(20 * scale) : round(50 * scale)] = 255
    nothing = np.zeros_like(square)
    image = np.zeros((120, 140, 3), np.uint8)
    draw_masks(image, Masks(square, nothing, nothing), window, 0)
    drawn = image[..., 0] > 128
    rows, columns = np.nonzero(drawn)
    slack = 2 / scale
    assert abs(rows.min() - 40) <= slack and abs(rows.max() - 69) <= slack
    assert abs(columns.min() - 40) <= slack and abs(columns.max() - 69) <= slack
    assert not image[46:64, 46:64].any() and not image[:30].any()
    middle = image[55, 36:74].any(-1)
    assert middle[:10].any() and middle[-10:].any()


def test_the_overlay_shows_mesh_masks_and_confidence(small, tmp_path):
    target, out = small.inputs.target, tmp_path / "overlay.mp4"
    write_overlay(target, out, None, observer=StepObserver())
    before, after = images_of(target), images_of(out)
    assert len(after) == len(before) and after[0].shape == before[0].shape
    for old, new in zip(before, after, strict=True):
        change = np.abs(new.astype(int) - old).mean(-1)
        height, width = change.shape
        assert change[height // 4 : height // 2, width * 3 // 8 : width * 5 // 8].mean() > 8  # the mesh over the face
        bar = new[: BAR_HEIGHT - 2].mean(0)
        assert (
            abs(bar[: width // 8, 2].mean() - 60) < 20 and bar[-width // 8 :, 2].mean() > 100
        )  # as long as we are sure
    yellow = [(np.abs(new.astype(int) - HEAD).max(-1) < 90).mean() for new in after]
    assert min(yellow) > 0.002
    with pytest.raises(OutputError):
        write_overlay(target, out, None, observer=StepObserver())


def test_the_overlay_never_replaces_the_clip(tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"not looked into")
    with pytest.raises(UsageError, match="overwrite an input"):
        write_overlay(clip, tmp_path / "x" / ".." / "clip.mp4", None, observer=StepObserver(), overwrite=True)


def test_the_users_masks_reach_the_overlay(small, disc_folder, tmp_path):
    folder, mask = disc_folder
    out = tmp_path / "overlay.mp4"
    write_overlay(small.inputs.target, out, None, observer=StepObserver(), user_masks=folder)
    image = images_of(out)[3].astype(int)
    edge = cv2.morphologyEx((mask > 127).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    yellow = (image[..., :2].mean(-1) - image[..., 2]) > 40
    assert (cv2.dilate(yellow.astype(np.uint8), np.ones((5, 5), np.uint8))[edge]).mean() > 0.8
    (folder / "m000.png").rename(tmp_path / "m000.png")
    try:
        with pytest.raises(InputError, match="one per frame"):
            write_overlay(small.inputs.target, tmp_path / "b.mp4", None, observer=StepObserver(), user_masks=folder)
    finally:
        (tmp_path / "m000.png").rename(folder / "m000.png")


def test_the_users_masks_are_stored_and_the_plate_replaces_them(small, disc_folder, tmp_path):
    folder, mask = disc_folder
    job = small.job(tmp_path, masks=folder)
    steps = (ingest.STEP, perceive.STEP, track.STEP, segment.STEP)
    with Workspace(job.work) as workspace:
        folders = run(job, steps, workspace, StepObserver())
    target = segment.load_target(folders, probe(small.inputs.target).frame_count)
    window = read_window(folders["segment"] / "window.safetensors")
    for t in (0, 7):
        given = cut(mask, window, t)
        assert np.array_equal(target.head[t], given)
        assert not ((target.neck[t].astype(int) + given) > 255).any()
        changed = np.abs(target.plate[t].astype(int) - target.rgb[t]).max(-1) > 3
        assert changed[given > 200].mean() > 0.9
