"""The paper's formulas as they are printed: what each switch changes, in numbers, and that a portrait still fits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gswap.field.geometry import TrackGeometry
from gswap.foundation.store import write_body_track
from gswap.pipeline.config import Job, Settings
from gswap.pipeline.steps.render import driving_track
from gswap.portrait.fit import fit_portrait
from gswap.portrait.model import View, build_portrait


def built(scene, cfg, **changes):
    return build_portrait(scene.model, scene.track, None, 40, dataclasses.replace(cfg, **changes))


def test_eq_6_as_printed_does_not_turn_with_the_head(scene, tiny_config):
    before, after = built(scene, tiny_config), built(scene, tiny_config, delta_after_skinning=True)
    geometry = TrackGeometry(before.surface, before.binding, scene.track, scene.model)
    shift = torch.tensor([0.01, 0.0, 0.0])
    moved = {}
    for name, portrait in (("before", before), ("after", after)):
        field = portrait.network.field
        with torch.no_grad():
            start = field(geometry[5]).means
            field.delta += shift
            moved[name] = field(geometry[5]).means - start
    turned = geometry[5].linear.mean(0) @ shift
    assert moved["after"].mean(0).numpy() == pytest.approx(shift.numpy(), abs=1e-4)
    assert moved["before"].mean(0).numpy() == pytest.approx(turned.numpy(), abs=1e-3)
    assert float((turned - shift).norm()) > 3e-4, "the head of this frame is turned"


@pytest.mark.parametrize("rerender", [False, True])
def test_eq_11_as_printed_darkens_soft_edges(scene, tiny_config, rerender):
    usual = built(scene, tiny_config, rerender=rerender)
    printed = built(scene, tiny_config, rerender=rerender, printed_fusion=True)
    printed.network.load_state_dict(usual.network.state_dict())
    side, foreground, alpha = 16, 0.8, 0.5
    features = torch.zeros(8, side, side)
    features[:3] = foreground * alpha  # premultiplied, as a rasteriser gives it
    view = View(torch.zeros(1, 3, side, side), torch.ones(side, side), None)  # type: ignore[arg-type]
    matte = torch.full((side, side), alpha)
    with torch.no_grad():
        difference = usual.network.composite(features, matte, view) - printed.network.composite(features, matte, view)
    middle = difference[0, :, 4:-4, 4:-4]
    loss = foreground * alpha * (1 - alpha)
    assert float(middle.mean()) == pytest.approx(loss, abs=1e-6 if not rerender else 0.08)
    solid = torch.ones(side, side)
    features[:3] = foreground
    with torch.no_grad():
        assert torch.equal(
            usual.network.composite(features, solid, view), printed.network.composite(features, solid, view)
        )


def test_32_channels_render_what_8_render(scene, tiny_config, rasterize):
    few, many = built(scene, tiny_config), built(scene, tiny_config, splat_channels=32)
    many.network.load_state_dict(few.network.state_dict())
    geometry = TrackGeometry(few.surface, few.binding, scene.track, scene.model)
    from gswap.portrait.frames import TrainingFrames

    frame = TrainingFrames(scene.target, scene.swap, scene.track, 1, least_confidence=0.3, budget=1 << 24)[1]
    view = View(frame.plate, frame.gate, frame.camera)
    with torch.no_grad():
        a, b = (p.network(geometry[1], view, rasterize) for p in (few, many))
    assert a.features.shape[0] == 8 and b.features.shape[0] == 32
    torch.testing.assert_close(b.image, a.image, atol=1e-5, rtol=0)


def test_a_literal_portrait_fits(scene, tiny_config, rasterize):
    cfg = dataclasses.replace(
        tiny_config,
        paper_literal=True,
        delta_after_skinning=True,
        printed_fusion=True,
        splat_channels=32,
        temporal="add",
        offsets=False,
        driving_condition="first",
    )
    losses: list[float] = []
    fit_portrait(
        scene.target,
        scene.swap,
        scene.track,
        scene.model,
        cfg,
        rasterize=rasterize,
        progress=lambda done, total, note="": losses.append(float(note.removeprefix("loss "))),
    )
    assert np.mean(losses[-8:]) < 0.5 * losses[0]


def test_the_targets_own_shape_may_drive(scene, tmp_path):
    new = dataclasses.replace(scene.track.shape, coefficients=scene.track.shape.coefficients + 0.1)
    drive = dataclasses.replace(scene.track, shape=new, valid=np.arange(len(scene.track)) > 0)
    folders = {name: tmp_path / name for name in ("retrack", "swap", "track")}
    for folder in folders.values():
        folder.mkdir()
    write_body_track(folders["retrack"] / "drive.safetensors", drive)
    write_body_track(folders["track"] / "body.safetensors", scene.track)
    job = Job((tmp_path,), tmp_path, tmp_path, tmp_path, tmp_path)
    assert driving_track(job, folders).shape.coefficients == pytest.approx(new.coefficients)
    settings = Settings()
    settings = dataclasses.replace(settings, fit=dataclasses.replace(settings.fit, driving_shape="target"))
    own = driving_track(dataclasses.replace(job, settings=settings), folders)
    assert own.shape.coefficients == pytest.approx(scene.track.shape.coefficients)
    assert (own.valid == drive.valid).all()
    heads = dataclasses.replace(scene.track, rotation=scene.track.rotation + 0.02)  # as the swapper turned them
    write_body_track(folders["swap"] / "heads.safetensors", heads)
    turned = driving_track(dataclasses.replace(job, settings=settings), folders)
    np.testing.assert_allclose(turned.rotation, heads.rotation, atol=1e-6)
