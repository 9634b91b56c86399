import numpy as np
import pytest

from gswap.people.motion import MotionConfig, Pose, angles_to_matrix, make_motion
from gswap.people.scene import make_scene
from gswap.people.sound import SAMPLE_RATE, synthesize
from gswap.people.speech import make_speech


def values(motion, action):
    return np.array([p.actions.get(action, 0.0) for p in motion.poses])


def test_same_seed_same_motion():
    assert make_motion(4, 40).poses == make_motion(4, 40).poses
    assert make_motion(4, 40).poses != make_motion(5, 40).poses


def test_motion_does_not_depend_on_the_frame_rate_grid():
    slow, fast = make_motion(4, 25, 25.0), make_motion(4, 50, 50.0)
    np.testing.assert_allclose([p.torso_yaw for p in slow.poses], [p.torso_yaw for p in fast.poses][::2])
    np.testing.assert_allclose(values(slow, "jawOpen"), values(fast, "jawOpen")[::2])


def test_all_actions_are_in_range():
    for seed in range(5):
        motion = make_motion(seed, 100, config=MotionConfig(wide_mouth=True, expression=1.0))
        for pose in motion.poses:
            assert all(0 <= v <= 1 for v in pose.actions.values())


def test_blinks_are_complete_and_short():
    lids = values(make_motion(1, 250), "eyeBlinkLeft")
    closed = lids > 0.99
    assert closed.any()
    runs = np.flatnonzero(np.diff(np.concatenate([[0], closed.astype(int), [0]])))
    assert (runs[1::2] - runs[::2]).max() <= 4
    assert np.median(lids) < 0.2


@pytest.mark.parametrize("yaw", [0.0, 20.0, 50.0])
def test_yaw_reaches_its_amplitude(yaw):
    found = np.abs([p.yaw for p in make_motion(2, 100, config=MotionConfig(yaw=yaw)).poses]).max()
    assert 0.85 * yaw <= found <= 1.25 * yaw + 1e-9


def test_wide_mouth_and_tempo():
    wide = make_motion(3, 75, config=MotionConfig(wide_mouth=True))
    assert values(wide, "jawOpen").max() > 0.9
    speed = [
        np.abs(np.diff([p.torso_yaw for p in make_motion(3, 75, config=MotionConfig(tempo=t)).poses])).mean()
        for t in (1.0, 3.0)
    ]
    assert speed[1] > 2 * speed[0]


def test_silence_keeps_the_mouth_shut():
    motion = make_motion(3, 50, config=MotionConfig(talk=0.0))
    assert values(motion, "jawOpen").max() == 0
    assert not synthesize(motion.speech, "male").any()


def test_lips_and_voice_agree():
    motion = make_motion(6, 200)
    sound = synthesize(motion.speech, "female", 6)
    assert len(sound) == 8 * SAMPLE_RATE and np.abs(sound).max() == pytest.approx(0.5)
    block = SAMPLE_RATE // 25
    loudness = np.sqrt((sound.reshape(-1, block) ** 2).mean(1))
    assert np.corrcoef(loudness, values(motion, "jawOpen"))[0, 1] > 0.5
    quiet = values(motion, "jawOpen") < 0.01
    assert loudness[quiet].mean() < 0.2 * loudness[~quiet].mean()


def test_closed_consonants_close_the_lips():
    speech = make_speech(1, 20.0)
    mouth = speech.at(np.arange(0, 20, 0.005))
    closed = mouth.pressed > 0.9
    assert closed.any() and mouth.jaw[closed].max() < 0.1


def test_pitch_of_the_voice():
    speech = make_speech(2, 4.0)
    for sex, low, high in (("male", 90, 140), ("female", 165, 245)):
        spectrum = np.abs(np.fft.rfft(synthesize(speech, sex, 2)))
        hertz = np.fft.rfftfreq(4 * SAMPLE_RATE, 1 / SAMPLE_RATE)
        octave = (hertz > 0.65 * low) & (hertz < 1.3 * high)
        fundamental = hertz[octave][spectrum[octave].argmax()]
        assert low < fundamental < high


def test_angles_compose_as_documented():
    matrix = angles_to_matrix(90, 0, 0)
    np.testing.assert_allclose(matrix @ [0, 0, -1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(angles_to_matrix(0, 0, 90) @ [0, -1, 0], [1, 0, 0], atol=1e-12)


def test_poses_are_values():
    assert Pose(yaw=1) == Pose(yaw=1)


@pytest.mark.parametrize("backdrop", ["studio", "bokeh", "room"])
def test_scene_is_deterministic_and_scales(backdrop):
    from gswap.people.scene import clean_plate

    scene = make_scene(3, backdrop)
    plate = clean_plate(scene, 96, 64)
    assert plate.shape == (64, 96, 3) and 0 <= plate.min() and plate.max() <= 1
    clean_plate.cache_clear()
    np.testing.assert_array_equal(plate, clean_plate(make_scene(3, backdrop), 96, 64))
    assert scene.camera(96, 64).focal == 64 * scene.focal
    stand = scene.stand()
    level = scene.focal * stand[1] / stand[2] + 0.5
    assert level == pytest.approx(scene.head_level)
