import av
import numpy as np
import pytest
from PIL import Image

from gswap.foundation.errors import UsageError
from gswap.people.clips import PHOTO_POSES, DemoConfig, demo_inputs, join_tracks, render_motion, write_photos
from gswap.people.person import make_person


@pytest.fixture(scope="module")
def config():
    return DemoConfig(size=128, frames=6, photos=2, photo_size=128)


@pytest.fixture(scope="module")
def demo(tmp_path_factory, config):
    return demo_inputs(tmp_path_factory.mktemp("demo"), config)


def test_clip_has_picture_and_voice(demo, config):
    with av.open(str(demo.target)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 25
    assert len(frames) == config.frames and frames[0].shape == (128, 128, 3)
    with av.open(str(demo.target)) as container:
        sound = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=1)
        assert container.streams.audio[0].codec_context.name == "aac"
    seconds = sound.shape[1] / 48000
    assert 0.2 < seconds < 0.4
    first = next(render_motion(demo.target_person, demo.motion, demo.scene, demo.size))
    assert np.abs(first.rgb.astype(int) - frames[0]).mean() < 4


def test_demo_is_reproducible(demo, config, tmp_path):
    again = demo_inputs(tmp_path, config)
    assert again.target.read_bytes() == demo.target.read_bytes()
    for a, b in zip(sorted(demo.source.iterdir()), sorted(again.source.iterdir()), strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_truth_wears_the_source_head(demo):
    truth = next(demo.truth())
    clip = next(render_motion(demo.target_person, demo.motion, demo.scene, demo.size))
    np.testing.assert_allclose(truth.track.rotation, clip.track.rotation, atol=1e-12)
    both = (truth.masks.head == 255) & (clip.masks.head == 255)
    assert np.abs(truth.rgb[both].astype(int) - clip.rgb[both]).mean() > 10


def test_photos_differ_and_are_whole(demo, config):
    images = [np.asarray(Image.open(p)) for p in sorted(demo.source.iterdir())]
    assert len(images) == config.photos and all(i.shape == (128, 128, 3) for i in images)
    assert np.abs(images[0].astype(int) - images[1]).mean() > 5


def test_too_many_photos_are_refused(tmp_path):
    with pytest.raises(UsageError, match="12"):
        write_photos(make_person(1), tmp_path, count=len(PHOTO_POSES) + 1)


def test_tracks_join(demo):
    frames = list(render_motion(demo.target_person, demo.motion, demo.scene, 48, range(3)))
    track = join_tracks(frames)
    assert len(track) == 3 and track.actions.shape == (3, len(demo.target_person.model.action_names))
    np.testing.assert_array_equal(track.rotation[1], frames[1].track.rotation[0])
    with pytest.raises(UsageError):
        join_tracks([])
