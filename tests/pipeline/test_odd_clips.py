"""A clip with irregular times, a display rotation, a cut and frames without the person, swapped as a whole."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import av
import numpy as np
import pytest

from gswap.foundation.store import read_face_track
from gswap.media.probe import probe
from gswap.media.read import VideoReader
from gswap.people.clips import render_motion
from gswap.people.scene import make_scene
from gswap.pipeline.job import run_job

PTS = [0, 3, 4, 9, 10, 13, 17, 18, 22, 25, 26, 31, 33, 38]
BLANK = (5, 6)
CUT = 9


@pytest.fixture
def odd_clip(small, tmp_path):
    """The small job's person in two rooms, with two empty frames, as a rotated clip with a variable frame rate."""
    made = small.inputs
    first = [f.rgb for f in render_motion(made.target_person, made.motion, made.scene, made.size)]
    other = make_scene(made.scene.seed + 1, "bokeh", head_fraction=0.56)
    second = [f.rgb for f in render_motion(made.target_person, made.motion, other, made.size)]
    frames = [*first[:CUT], *second[CUT : len(PTS)]]
    for t in BLANK:
        frames[t] = np.full_like(frames[t], (60, 90, 120))
    path = tmp_path / "odd.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 50)
        stream.set_display_rotation(90)
        for pts, rgb in zip(PTS, frames, strict=True):
            upright = np.ascontiguousarray(np.rot90(rgb, -1))  # stored lying, shown upright
            frame = av.VideoFrame.from_ndarray(upright, format="rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 50)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_times_cuts_and_empty_frames(small, odd_clip, tmp_path):
    job = small.job(tmp_path, target=odd_clip, out=tmp_path / "out.mkv")
    record = small.consent.read_text().split("photos = [")
    consent = tmp_path / "consent.toml"
    consent.write_text(record[0] + "photos = []\ntarget" + record[1].split("]\ntarget", 1)[-1])
    done = run_job(dataclasses.replace(job, consent=consent))

    before, after = probe(odd_clip), probe(job.out)
    assert (after.width, after.height) == (before.width, before.height) and after.rotation == 0
    assert after.frame_count == before.frame_count == len(PTS)
    seconds = [np.array(i.pts) * i.time_base[0] / i.time_base[1] for i in (before, after)]
    assert np.allclose(seconds[0] - seconds[0][0], np.array(PTS) / 50, atol=1e-6)
    assert np.allclose(seconds[0] - seconds[0][0], seconds[1] - seconds[1][0], atol=1e-3)

    faces = read_face_track(done.folders["perceive"] / "faces.safetensors")
    assert [s.start for s in faces.shots] == [0, *([5, 7] if len(faces.shots) > 2 else []), CUT]
    with VideoReader(before) as a, VideoReader(after) as b:
        for t, (x, y) in enumerate(zip(a.frames(), b.frames(), strict=True)):
            same = [np.array_equal(p, q) for p, q in zip(x.planes, y.planes, strict=True)]
            assert all(same) == (t in BLANK), t
    untouched = [t for t in range(len(PTS)) if not faces.valid[t] or faces.bridged[t]]
    assert set(BLANK) <= set(untouched)
