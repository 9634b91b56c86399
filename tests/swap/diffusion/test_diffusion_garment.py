"""Plain garments over the photos' clothes: nothing else changes, nothing of the clothes is left, no prompt is taken."""

from __future__ import annotations

import dataclasses
import typing

import numpy as np
import pytest
from tiny_models import SIDE, quiet

from gswap.foundation.errors import ConfigError
from gswap.foundation.imaging import fill_polygon
from gswap.foundation.landmarks import OVAL
from gswap.foundation.types import PhotoSet
from gswap.swap.diffusion import config, garment
from gswap.swap.diffusion.adapt import BEST
from gswap.swap.diffusion.config import AdaptConfig, DiffusionConfig, SampleConfig, SourcesConfig
from gswap.swap.diffusion.garment import NONE, PAINTED, PLAIN, clothes_area, dress, dress_photos, verdicts
from gswap.swap.diffusion.models import load_base
from gswap.swap.diffusion.plan import InpaintPlan
from gswap.swap.diffusion.swapper import DiffusionSwapper, Photos, Tools
from gswap.swap.framing import Framing
from gswap.swap.sources import GREY, SourcePicture

SKIN, CLOTH, WALL = (205, 120, 80), (20, 40, 220), (250, 250, 0)
FAINT = SourcesConfig(clothes="garment", steps=100, strength=0.01)
"""The tiny UNet knows no cloth: what it paints stays near the grey that it begins with."""


@pytest.fixture
def network(base):
    with quiet():
        return load_base(base, "cpu")


@pytest.fixture(scope="module")
def source() -> SourcePicture:
    """A head over a blue shirt with bare shoulders, and a hand in front of a wall."""
    y, x = np.mgrid[:160, :120]
    head = ((x - 60) / 26.0) ** 2 + ((y - 56) / 34.0) ** 2 < 1
    head |= (abs(x - 60) < 12) & (y < 104) & (y > 56)
    body = (y > 98) & (abs(x - 60) < 50) & ~head
    bare = body & (abs(x - 60) > 38)
    rgb = np.select([head[..., None], bare[..., None], body[..., None]], [SKIN, SKIN, CLOTH], WALL).astype(np.uint8)
    angle = np.linspace(0, 2 * np.pi, len(OVAL), endpoint=False)
    points = np.tile([60.0, 56.0], (478, 1))
    points[list(OVAL)] = np.column_stack([60 + 20 * np.sin(angle), 56 - 28 * np.cos(angle)])
    masks = [m.astype(np.uint8) * 255 for m in (head | body, head)]
    return SourcePicture(rgb, *masks, points, Framing(60, 62, 116))


@pytest.fixture
def photos(source, people) -> Photos:
    """Two photos of that person."""
    twice = {name: (getattr(source, name),) * 2 for name in ("rgb", "head", "person")}
    images = PhotoSet(**twice, alpha=twice["head"], foreground=twice["rgb"])
    landmarks = np.zeros((2, 478, 3))
    landmarks[:, :, :2] = source.landmarks
    return Photos(images, dataclasses.replace(people.faces, landmarks=landmarks))


def test_only_the_clothes_change_and_all_of_them(network, source):
    area = clothes_area(source)
    rgb, verdict = dress(network, source, FAINT, SIDE, seed=0)
    assert verdict == PAINTED
    assert np.array_equal(rgb[~area], source.rgb[~area])
    far = np.abs(rgb[area].astype(int) - source.rgb[area]).max(-1)
    assert far.min() > 20, "nothing of the shirt, and no bare shoulder, is left"
    painted = rgb[area].astype(int) - GREY
    assert np.abs(painted).max() > 2, "folds are painted, not only grey"
    assert np.array_equal(rgb, dress(network, source, FAINT, SIDE, seed=0)[0])
    assert not np.array_equal(rgb, dress(network, source, FAINT, SIDE, seed=1)[0])


def test_the_clothes_are_whatever_is_neither_head_nor_neck(source):
    area = clothes_area(source)
    assert np.array_equal(area, (source.person > 0) & (source.head == 0))
    soft = dataclasses.replace(source, person=np.where(area, 40, source.person).astype(np.uint8))
    assert np.array_equal(clothes_area(soft), area), "soft edges of clothes are clothes"


def test_soft_edges_of_hair_before_the_wall_are_no_clothes(source):
    hair = (source.person == 0) & (np.arange(source.head.shape[0])[:, None] < 40)
    person, head = (np.where(hair, np.uint8(100), mask) for mask in (source.person, source.head))
    frayed = dataclasses.replace(source, person=person, head=head)
    assert hair.sum() > 100 and np.array_equal(clothes_area(frayed), clothes_area(source))


def test_what_comes_out_skin_coloured_is_not_used(network, source):
    """From pure noise the tiny UNet paints colours at random, so that much of it is nearer to the skin than to grey."""
    rgb, verdict = dress(network, source, dataclasses.replace(FAINT, steps=4, strength=1.0), SIDE, seed=0)
    area = clothes_area(source)
    assert verdict == PLAIN
    assert (rgb[area] == GREY).all() and np.array_equal(rgb[~area], source.rgb[~area])


def test_a_photo_without_clothes_in_it_stays_as_it_is(network, source):
    close = dataclasses.replace(source, person=source.head)
    rgb, verdict = dress(network, close, FAINT, SIDE, seed=0)
    assert verdict == NONE and np.array_equal(rgb, source.rgb)


def test_clothes_beside_the_square_are_flat_grey(network, source):
    above = dataclasses.replace(source, framing=Framing(60, 40, 60))
    area = clothes_area(source)
    rgb, verdict = dress(network, above, FAINT, SIDE, seed=0)
    assert verdict == PLAIN and (rgb[area] == GREY).all()


def test_no_option_takes_words():
    """The prompts are constants: every option of the generator is a number, a switch or a choice."""
    for kind in (SourcesConfig, AdaptConfig, SampleConfig, config.InpaintMaskConfig, config.GateConfig):
        for name, hint in typing.get_type_hints(kind).items():
            assert hint in (int, float, bool) or typing.get_origin(hint) is typing.Literal, name
    assert "t-shirt" in garment.PROMPT and "nudity" in garment.AGAINST


def test_the_fixed_words_are_what_the_network_is_told(network, source):
    dress(network, source, FAINT, SIDE, seed=0)
    assert set(network.prompts) == {garment.PROMPT.encode(), garment.AGAINST.encode()}


def test_photos_that_are_dressed_are_not_dressed_again(base, network, source, tmp_path):
    loads = []

    def load():
        loads.append(1)
        return network

    def stop(done: int, total: int, note: str = "") -> None:
        if done == 1:
            raise KeyboardInterrupt

    options = {"side": SIDE, "seed": 3, "folder": tmp_path / "stopped"}
    with pytest.raises(KeyboardInterrupt):
        dress_photos(load, [source, source], FAINT, **options, progress=stop)
    first = (tmp_path / "stopped" / "000000.png").stat().st_mtime_ns
    dressed = dress_photos(load, [source, source], FAINT, **options)
    assert (tmp_path / "stopped" / "000000.png").stat().st_mtime_ns == first
    dress_photos(load, [source, source], FAINT, **options)
    assert len(loads) == 2 and verdicts(tmp_path / "stopped") == [PAINTED] * 2
    whole = dress_photos(load, [source, source], FAINT, **(options | {"folder": tmp_path / "whole"}))
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(dressed, whole, strict=True))
    assert verdicts(tmp_path / "nowhere") == []


def test_the_generator_learns_the_dressed_photos(clip, photos, base, folders, tmp_path):
    """Through ``adapt``: the same training, once on the photos as they are and once on the dressed ones."""
    learnt = {}
    for clothes in ("mask", "garment"):
        cfg = DiffusionConfig(
            sources=dataclasses.replace(FAINT, clothes=clothes),
            adapt=AdaptConfig(rank=4, variants=1, steps=2, validate_every=0, drop_hint=0, drop_identity=0),
            sample=SampleConfig(side=48),
        )
        plan = InpaintPlan(clip.target(), clip.faces, range(3), tmp_path / clothes / "plan", cfg)
        tools = Tools(
            folders, "cpu", lambda image, points: np.ones(512), lambda image, points: np.ones(512), None, base
        )
        plan.frame = lambda t: _Planned()  # type: ignore[method-assign]
        swapper = DiffusionSwapper(plan, photos, tools, cfg, 0, tmp_path / clothes)
        with quiet():
            result = swapper.adapt()
        assert result.steps == 2 and result.optimizer == "AdamW"
        assert swapper.garments() == ([] if clothes == "mask" else [PAINTED] * 2)
        learnt[clothes] = (tmp_path / clothes / "adapt" / BEST).read_bytes()
    assert learnt["mask"] != learnt["garment"]


class _Planned:
    """A frame's square; reenactments are not the matter here."""

    framing = Framing(100, 90, 130)


def test_garments_without_their_painter_are_refused(clip, photos, folders, tmp_path):
    cfg = DiffusionConfig(sources=FAINT)
    plan = InpaintPlan(clip.target(), clip.faces, range(3), tmp_path / "plan", cfg)
    tools = Tools(folders, "cpu", lambda image, points: np.ones(512), lambda image, points: np.ones(512), None)  # type: ignore[arg-type]
    swapper = DiffusionSwapper(plan, photos, tools, cfg, 0, tmp_path)
    with pytest.raises(ConfigError, match="garments"):
        swapper.adapt()


def test_skin_is_measured_on_the_face(source):
    face = fill_polygon(source.landmarks[list(OVAL)], *source.head.shape) > 0.5
    assert face.sum() > 500
    skin = garment._skin(source)
    assert garment._share_of_skin(source.rgb, face, skin) == 1
    assert garment._share_of_skin(np.full_like(source.rgb, 90), face, skin) == 0
