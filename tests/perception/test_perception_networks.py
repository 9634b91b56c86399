"""SMIRK's encoder and CLIP on random weights of the real classes: structure, pictures they see, ranges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gswap.foundation.errors import WeightsError
from gswap.perception.adapters import smirk

FACE = np.random.default_rng(0).uniform([40, 60, 0], [120, 140, 1], (478, 3))
PICTURE = np.random.default_rng(1).integers(0, 256, (200, 180, 3), dtype=np.uint8)


def test_backbones_have_the_published_layers() -> None:
    """Names, shapes and totals of timm's tf_mobilenetv3_*_minimal_100 without classifier (checked against it)."""
    for stages, tensors, parameters, channels in ((smirk.SMALL, 204, 428888, 576), (smirk.LARGE, 276, 1413208, 960)):
        model = smirk.Backbone(stages)
        assert len(model.state_dict()) == tensors and model.channels == channels
        assert sum(p.numel() for p in model.parameters()) == parameters
        assert model(torch.rand(1, 3, 224, 224)).shape == (1, channels)
    names = smirk.Backbone(smirk.SMALL).state_dict()
    assert {"conv_stem.weight", "blocks.0.0.conv_dw.weight", "blocks.1.1.conv_pwl.weight"} <= set(names)


def test_padding_is_tensorflows() -> None:
    conv = smirk._conv(1, 1, 3, 2)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, 0, 0] = 1
        image = torch.arange(16.0).view(1, 1, 4, 4)
        found = conv(image)
    torch.testing.assert_close(found, image[:, :, ::2, ::2])  # nothing is padded at the left and top of an even side


def test_weights_load_strictly_and_are_ranged(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = smirk.SmirkEncoder().eval()
    stored = {f"smirk_encoder.{k}": v.contiguous() for k, v in model.state_dict().items()}
    stored["smirk_generator.x"] = torch.zeros(1)
    save_file(stored, tmp_path / "smirk.safetensors")
    loaded = smirk.load_smirk(tmp_path / "smirk.safetensors")
    expression, pose = smirk.read_face(loaded, PICTURE, FACE)
    assert expression.shape == (55,) and pose.shape == (3,)
    assert (0 <= expression[50:52]).all() and (expression[50:52] <= 1).all() and expression[52] >= 0
    again, _ = smirk.read_face(model, PICTURE, FACE)
    np.testing.assert_array_equal(expression, again)
    del stored["smirk_encoder.pose_encoder.encoder.conv_stem.weight"]
    save_file(stored, tmp_path / "broken.safetensors")
    with pytest.raises(WeightsError, match="SMIRK"):
        smirk.load_smirk(tmp_path / "broken.safetensors")


def test_the_crop_holds_the_face_and_follows_it() -> None:
    crop = smirk.crop_face(PICTURE, FACE)
    assert crop.shape == (224, 224, 3)
    moved = np.roll(PICTURE, (5, 9), (0, 1))
    inner = np.s_[20:-20, 20:-20]
    np.testing.assert_array_equal(smirk.crop_face(moved, FACE + np.array([9, 5, 0]))[inner], crop[inner])


def test_clip_embeds_from_local_files(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from gswap.perception.adapters.clip import ClipImages, prepare

    torch.manual_seed(0)
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPVisionConfig(**vision, image_size=32, patch_size=16, projection_dim=8)
    model = transformers.CLIPVisionModelWithProjection(config).eval()
    model.save_pretrained(tmp_path)
    embed = ClipImages(tmp_path)
    found = embed(PICTURE)
    with torch.no_grad():
        wanted = model(prepare(PICTURE, 32)).image_embeds[0].numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    grey = prepare(np.full((50, 80, 3), 128, np.uint8), 32)
    assert grey.shape == (1, 3, 32, 32) and float(grey[0, 0].std()) < 1e-6
    with pytest.raises(WeightsError, match="CLIP"):
        ClipImages(tmp_path / "nowhere")
