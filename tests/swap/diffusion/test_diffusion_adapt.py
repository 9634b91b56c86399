"""Learning a few photos: the loss falls, pictures move towards the photos, a stopped training loses nothing."""

from __future__ import annotations

import dataclasses
import sys
import types

import numpy as np
import pytest
import torch
from tiny_models import SIDE, quiet

from gswap.foundation.errors import InputError
from gswap.foundation.types import PhotoSet
from gswap.swap.diffusion.adapt import (
    BEST,
    CHECKPOINT,
    Variants,
    _resume,
    _State,
    _write_checkpoint,
    adapt,
    encode_variants,
    optimizer_class,
)
from gswap.swap.diffusion.config import AdaptConfig, SampleConfig
from gswap.swap.diffusion.models import load_generator, merge_adapter
from gswap.swap.diffusion.sample import Canvas, paint, predict
from gswap.swap.sources import LossWeights, clean_background, loss_weight, source_pictures, training_picture

IDENTITY = np.random.default_rng(1).normal(size=512)
SKIN, CLOTH, WALL, OTHER = (np.array(c) for c in ((205, 120, 80), (20, 40, 220), (90, 100, 110), (60, 150, 200)))
SMALL = 32
CFG = AdaptConfig(rank=8, rate=1e-2, variants=2, checkpoint_every=10, validate_every=0, batch=2)


@pytest.fixture(scope="module")
def photos():
    """Two photos: a skin-coloured head over blue clothes."""
    y, x = np.mgrid[:160, :120]
    head = ((x - 60) / 32.0) ** 2 + ((y - 60) / 40.0) ** 2 < 1
    cloth = (y > 104) & ~head
    rgb = np.where(head[..., None], SKIN, np.where(cloth[..., None], CLOTH, (250, 250, 0))).astype(np.uint8)
    mask, person = (m.astype(np.uint8) * 255 for m in (head, head | cloth))
    return PhotoSet((rgb, rgb[:, ::-1].copy()), (mask, mask), (person, person), (mask, mask), (rgb, rgb))


@pytest.fixture(scope="module")
def sources(photos):
    landmarks = np.zeros((2, 478, 3))
    landmarks[:, :, 0], landmarks[:, :, 1] = 60, 60
    landmarks[:, 152, 1], landmarks[:, 10, 1] = 98, 30
    return source_pictures(photos, landmarks, 1.7)


@pytest.fixture(scope="module")
def background():
    plate = np.full((160, 160, 3), WALL, np.uint8)
    plate[100:] = (0, 255, 0)
    person = np.zeros((160, 160), np.uint8)
    person[100:] = 255
    from gswap.swap.framing import Framing

    return clean_background(plate, person, Framing(80, 80, 160), SIDE)


def test_the_background_shows_nobody(background):
    assert np.abs(background.astype(int) - WALL).max() <= 1


def test_clothes_and_background_of_the_photo_do_not_teach(sources, background):
    source = sources[0]
    picture = training_picture(source, source.framing, len(background), background)
    own = training_picture(source, source.framing, len(background), None)
    weight = loss_weight(source, source.framing, SIDE, LossWeights(0.1, 0.0))
    blue = np.abs(picture.astype(int) - CLOTH).max(-1) < 30
    assert blue.sum() > 100 and weight[blue].max() < 0.3 and np.median(weight[blue]) == 0
    assert not (np.abs(picture.astype(int) - (250, 250, 0)).max(-1) < 60).any(), "the photo's own wall is gone"
    assert (np.abs(own.astype(int) - (250, 250, 0)).max(-1) < 60).any(), "unless it is left for comparison"
    skin = np.abs(picture.astype(int) - SKIN).max(-1) < 5
    assert weight[skin].min() > 0.5
    assert weight[2, 2] == pytest.approx(0.1)


@pytest.fixture(scope="module")
def taught(folders, tmp_path_factory):
    """A generator that has seen one kind of head, so that there is something to adapt."""
    folder = tmp_path_factory.mktemp("taught")
    with quiet():
        generator = load_generator(folders, "cpu")
    cfg = dataclasses.replace(
        CFG, method="full", rate=1e-2, batch=4, drop_hint=0, drop_identity=0, checkpoint_every=999
    )
    adapt(generator, one_picture(generator, OTHER), IDENTITY, cfg, steps=100, seed=0, folder=folder)
    return folder / BEST


def head_picture(colour):
    y, x = np.mgrid[:SMALL, :SMALL] / SMALL - 0.5
    return np.where((((x / 0.22) ** 2 + (y / 0.28) ** 2) < 1)[..., None], colour, WALL).astype(np.uint8)


def one_picture(generator, colour) -> Variants:
    latents = generator.encode(generator.to_tensor([head_picture(colour)]) * 2 - 1)
    hints = generator.encode_hints(torch.zeros(1, 3, SMALL, SMALL))
    return Variants(latents, hints, torch.ones(1, 1, SMALL, SMALL))


def error_on(generator, data: Variants) -> float:
    """Squared error of the predicted noise over fixed noises and levels."""
    random = torch.Generator().manual_seed(99)
    levels = torch.linspace(20, 980, 16).long()
    latents = data.latents.expand(16, -1, -1, -1)
    noise = torch.randn(latents.shape, generator=random)
    with torch.no_grad():
        noisy = generator.schedule.add_noise(latents, noise, levels)
        prompt = generator.prompt(IDENTITY).expand(16, -1, -1)
        found = predict(generator, noisy, levels, prompt, data.hints.expand(16, -1, -1, -1))
    return float(((found - noise) ** 2).mean())


@pytest.mark.parametrize(("method", "rate", "falls"), [("lora", 2e-2, 0.95), ("full", 5e-3, 0.7)])
def test_the_loss_falls_and_pictures_move_towards_the_photos(folders, taught, tmp_path, method, rate, falls):
    """From one colour of heads to that of the photos: measured on the loss, and on what is painted."""
    with quiet():
        before = load_generator(folders, "cpu", adapter=taught)
        learning = load_generator(folders, "cpu", adapter=taught)
    cfg = dataclasses.replace(CFG, method=method, rate=rate, batch=4, drop_hint=0, drop_identity=0)
    data = one_picture(before, SKIN)
    adapt(learning, data, IDENTITY, cfg, steps=60, seed=0, folder=tmp_path)
    with quiet():
        after = load_generator(folders, "cpu", adapter=taught)
        merge_adapter(after.unet, tmp_path / BEST)
    assert error_on(after, data) < falls * error_on(before, data)
    assert error_on(after, data) == pytest.approx(error_on(learning, data), rel=1e-3), "merging changes nothing"

    canvas = Canvas(head_picture(OTHER), np.ones((SMALL, SMALL), bool), np.zeros((SMALL, SMALL, 3), np.uint8))
    sampling = SampleConfig(side=SMALL, steps=12, guidance=1.0, start="reenact", strength=0.5)
    inside = np.s_[12:20, 12:20]
    old, new = (
        np.mean([paint(g, [canvas], IDENTITY, sampling, seed)[0][inside] for seed in (1, 2, 3)], axis=(0, 1, 2))
        for g in (before, after)
    )
    wanted, moved = SKIN - old, new - old
    assert np.linalg.norm(SKIN - new) < np.linalg.norm(wanted)
    assert wanted @ moved / (np.linalg.norm(wanted) * np.linalg.norm(moved)) > 0.4


def test_gradient_checkpointing_saves_memory_and_changes_nothing(folders, tmp_path):
    learnt = []
    for low_memory in (True, False):
        with quiet():
            generator = load_generator(folders, "cpu")
        cfg = dataclasses.replace(CFG, method="full", rate=1e-3, low_memory=low_memory, drop_hint=0)
        folder = tmp_path / str(low_memory)
        folder.mkdir()
        result = adapt(generator, one_picture(generator, SKIN), IDENTITY, cfg, steps=2, seed=0, folder=folder)
        assert generator.unet.is_gradient_checkpointing == low_memory
        assert result.optimizer == "AdamW"
        learnt.append((folder / BEST).read_bytes())
    assert learnt[0] == learnt[1]


def test_8_bit_adam_is_for_a_whole_unet_on_cuda_where_it_is_installed(monkeypatch):
    """The library is not installed here: a stand-in of its name shows when it would be used."""
    full = dataclasses.replace(CFG, method="full")
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    assert optimizer_class(full, cuda=True) is torch.optim.AdamW
    eight = types.SimpleNamespace(AdamW8bit=type("AdamW8bit", (), {}))
    monkeypatch.setitem(sys.modules, "bitsandbytes", types.ModuleType("bitsandbytes"))
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", eight)
    assert optimizer_class(full, cuda=True) is eight.AdamW8bit
    assert optimizer_class(full, cuda=False) is torch.optim.AdamW
    assert optimizer_class(CFG, cuda=True) is torch.optim.AdamW
    assert optimizer_class(dataclasses.replace(full, low_memory=False), cuda=True) is torch.optim.AdamW


class Counting(torch.optim.SGD):
    """Keeps what 8-bit Adam keeps: a plain number and bytes."""

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["step"] = state.get("step", 0) + 1
                state["state1"] = torch.full((3,), state["step"], dtype=torch.uint8)


def test_a_checkpoint_keeps_plain_numbers_and_bytes_of_an_optimizer(tmp_path):
    weight = torch.nn.Parameter(torch.ones(3))
    first = Counting([weight], lr=0.1)
    for _ in range(2):
        weight.grad = torch.ones(3)
        first.step()
    _write_checkpoint(tmp_path / CHECKPOINT, {"w": weight}, first, _State(2, [0.5, 0.4], []))
    other = torch.nn.Parameter(torch.zeros(3))
    second = Counting([other], lr=0.1)
    state = _resume(tmp_path / CHECKPOINT, {"w": other}, second)
    assert state.step == 2 and torch.equal(other, weight)
    other.grad = torch.ones(3)
    second.step()
    assert second.state[other]["step"] == 3 and second.state[other]["state1"].tolist() == [3, 3, 3]


def test_a_stopped_training_goes_on_to_the_same_bytes(folders, sources, background, tmp_path):
    """Killed between two checkpoints, run again: the result and the curve are those of an undisturbed run."""
    results = []
    for name, stops in (("whole", ()), ("stopped", (17,))):
        folder = tmp_path / name
        folder.mkdir()
        for stop in (*stops, None):

            def progress(done: int, total: int, note: str = "", stop=stop) -> None:
                if done == stop:
                    raise KeyboardInterrupt

            with quiet():
                fresh = load_generator(folders, "cpu")
            variants = encode_variants(fresh, sources, background, CFG, seed=3)
            try:
                adapt(fresh, variants, IDENTITY, CFG, steps=24, seed=3, folder=folder, progress=progress)
            except KeyboardInterrupt:
                assert (folder / CHECKPOINT).exists()
        results.append([(folder / n).read_bytes() for n in (BEST, "curve.json")])
    assert results[0] == results[1]


def test_the_training_ends_when_the_identity_no_longer_grows(generator, sources, background, tmp_path):
    cfg = dataclasses.replace(CFG, validate_every=3, patience=2)
    values = iter([0.2, 0.6, 0.59, 0.603, 0.9])
    variants = encode_variants(generator, sources, background, cfg, seed=0)
    kept = []

    def validate() -> float:
        if (tmp_path / BEST).exists():
            kept.append((tmp_path / BEST).read_bytes())
        return next(values)

    result = adapt(generator, variants, IDENTITY, cfg, steps=60, seed=0, folder=tmp_path, validate=validate)
    assert result.steps == 12 and result.identities == (0.2, 0.6, 0.59, 0.603)
    assert kept[0] != kept[1] == kept[2] == (tmp_path / BEST).read_bytes()


def test_the_controlnet_is_in_the_loop_but_not_trained(generator, sources, background, tmp_path):
    before = [p.clone() for p in generator.controlnet.parameters()]
    cfg = dataclasses.replace(CFG, drop_hint=0.0)
    variants = encode_variants(generator, sources, background, cfg, seed=0)
    with_hints = adapt(generator, variants, IDENTITY, cfg, steps=2, seed=0, folder=tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(before, generator.controlnet.parameters(), strict=True))
    assert len(with_hints.losses) == 2


def test_one_to_twelve_photos(generator, sources, background):
    assert CFG.step_count(4) == 802 and CFG.step_count(12) == 1506
    with pytest.raises(InputError, match="1 to 12"):
        encode_variants(generator, [], background, CFG, 0)
    with pytest.raises(InputError, match="1 to 12"):
        encode_variants(generator, sources * 7, background, CFG, 0)
    one = encode_variants(generator, sources[:1], background, dataclasses.replace(CFG, variants=1), 0)
    assert len(one.latents) == 1
    assert float(one.weight.mean()) == pytest.approx(1)
