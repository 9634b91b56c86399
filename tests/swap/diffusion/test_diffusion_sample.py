"""Inpainting against diffusers' own pipeline, one noise for all frames, untouched pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tiny_models import LCM_ALPHA, LCM_LAYERS, LCM_RANK, SIDE, quiet

from gswap.foundation.errors import ConfigError
from gswap.swap.diffusion.config import SampleConfig
from gswap.swap.diffusion.models import load_generator
from gswap.swap.diffusion.sample import Canvas, edge_weight, frame_noise, make_sampler, paint, put_back
from gswap.swap.framing import Framing

IDENTITY = np.random.default_rng(1).normal(size=512)
CFG = SampleConfig(side=SIDE, steps=4, hint_scale=0.8)


@pytest.fixture
def area():
    area = np.zeros((SIDE, SIDE), bool)
    area[18:50, 12:44] = True
    return area


@pytest.fixture
def canvases(pictures, area):
    return [Canvas(pictures[i], area, pictures[i + 4]) for i in range(3)]


def test_a_unet_in_training_paints_in_the_precision_of_the_others(generator, canvases):
    """On CUDA the networks are bfloat16, but a UNet that is trained as a whole is float32: it paints too."""
    whole = np.stack(paint(generator, canvases[:1], IDENTITY, CFG, seed=2)).astype(float)
    generator.dtype = torch.bfloat16
    for network in (generator.controlnet, generator.hint_encoder):
        network.to(torch.bfloat16)
    mixed = np.stack(paint(generator, canvases[:1], IDENTITY, CFG, seed=2))
    assert generator.unet.dtype == torch.float32
    assert np.abs(mixed - whole).mean() < 2


@pytest.mark.parametrize("sampler", ["dpm", "unipc"])
def test_a_picture_is_the_one_of_the_pipeline_of_diffusers(generator, folders, canvases, sampler):
    """The same noise gives the same picture as the published inpainting pipeline."""
    from diffusers import ControlNetModel, StableDiffusionControlNetInpaintPipeline

    with quiet():
        controlnet = ControlNetModel.from_pretrained(str(folders.controlnet))
        pipeline = StableDiffusionControlNetInpaintPipeline(
            vae=generator.vae,
            text_encoder=generator.text_encoder,
            tokenizer=generator.tokenizer,
            unet=generator.unet,
            controlnet=controlnet,
            scheduler=make_sampler(generator.schedule, sampler),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        pipeline._encode_vae_image = lambda image, generator=None: own.encode(image)
        own = generator
        first = canvases[0]
        from PIL import Image

        expected = pipeline(
            prompt_embeds=generator.prompt(IDENTITY),
            negative_prompt_embeds=generator.null_prompt(),
            image=Image.fromarray(first.scene),
            mask_image=Image.fromarray(first.area.astype(np.uint8) * 255),
            control_image=Image.fromarray(first.hint),
            height=SIDE,
            width=SIDE,
            strength=1.0,
            num_inference_steps=CFG.steps,
            guidance_scale=CFG.guidance,
            controlnet_conditioning_scale=CFG.hint_scale,
            latents=frame_noise(generator, SIDE, 5),
            output_type="np",
        ).images[0]
    ours = paint(generator, [first], IDENTITY, dataclasses.replace(CFG, sampler=sampler), 5)[0]
    assert np.abs(ours / 255 - expected).max() < 0.51 / 255 + 1e-3
    assert ours.std() > 10


@pytest.mark.parametrize("sampler", ["dpm", "lcm"])
def test_all_frames_begin_with_one_noise(generator, canvases, sampler):
    cfg = dataclasses.replace(CFG, sampler=sampler)
    same = paint(generator, [canvases[0]] * 3, IDENTITY, cfg, 2)
    assert np.abs(same[0].astype(int) - same[2]).max() <= 1
    again = paint(generator, [canvases[0]] * 3, IDENTITY, cfg, 2)
    assert all(np.array_equal(a, b) for a, b in zip(same, again, strict=True))
    other = paint(generator, [canvases[0]] * 3, IDENTITY, cfg, 3)
    assert np.abs(same[0].astype(int) - other[0]).mean() > 1


def test_the_face_drawing_and_the_identity_steer_the_picture(generator, canvases):
    first, other = canvases[0], dataclasses.replace(canvases[0], hint=canvases[1].hint)
    a, b = (paint(generator, [c], IDENTITY, CFG, 2)[0].astype(int) for c in (first, other))
    c = paint(generator, [first], -IDENTITY, CFG, 2)[0].astype(int)
    inside = np.s_[20:48, 14:42]
    assert np.abs(a[inside] - b[inside]).mean() > 1
    assert (a[inside] != c[inside]).mean() > 0.05


def test_a_picture_can_begin_with_the_reenactment(generator, canvases, area):
    cfg = dataclasses.replace(CFG, start="reenact", strength=0.25)
    scene = canvases[0].scene.astype(int)
    decoded = generator.decode(generator.encode(generator.to_tensor([canvases[0].scene]) * 2 - 1))[0]
    known = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    outside = np.s_[:8]  # the decoder sees a little across the border
    faint = paint(generator, [canvases[0]], IDENTITY, cfg, 0)[0]
    assert np.abs(faint[outside] - known[outside]).mean() < 3
    strong = paint(generator, [canvases[0]], IDENTITY, dataclasses.replace(cfg, strength=1.0), 0)[0]
    change = [np.abs(p[area].astype(int) - scene[area]).mean() for p in (faint, strong)]
    assert change[0] < change[1]


def test_untouched_pixels_keep_their_bits():
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (120, 140, 3), dtype=np.uint8)
    picture = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    area = np.zeros((120, 140), bool)
    area[40:90, 50:110] = True
    out = put_back(frame, picture, Framing(80, 66, 90), area, 3.0)
    assert np.array_equal(out[~area], frame[~area])
    assert np.abs(out[60:70, 75:85].astype(int) - frame[60:70, 75:85]).mean() > 20


def test_the_edge_is_inside_the_area():
    area = np.zeros((60, 60), bool)
    area[15:45, 15:45] = True
    weight = edge_weight(area, 3.0)
    assert weight[~area].max() == 0
    assert weight[30, 30] == pytest.approx(1, abs=1e-3)
    assert weight[30, 15] < 0.2
    assert (np.diff(weight[30, 15:30]) >= -1e-6).all()


def test_noise_is_made_on_the_cpu_and_is_standard(generator):
    noise = frame_noise(generator, SIDE, 3)
    assert noise.shape == (1, 4, SIDE, SIDE)
    expected = torch.randn(noise.shape, generator=torch.Generator().manual_seed(3))
    assert torch.equal(noise, expected)


def test_the_lcm_adapter_is_merged_as_published(folders, generator):
    """W + alpha / rank * up down, layers by their published names; four steps without guidance."""
    from safetensors.torch import load_file

    with quiet():
        fast = load_generator(folders, "cpu", fast=True)
    told = load_file(folders.fast)
    before, after = ({n.replace(".", "_"): m for n, m in g.unet.named_modules()} for g in (generator, fast))
    for layer in LCM_LAYERS:
        down, up = (told[f"lora_unet_{layer}.lora_{part}.weight"] for part in ("down", "up"))
        change = torch.tensordot(up.flatten(1), down, dims=1) * LCM_ALPHA / LCM_RANK
        assert change.abs().max() > 1e-3
        assert torch.allclose(after[layer].weight, before[layer].weight + change, atol=1e-6)
    same = "up_blocks_0_resnets_0_conv1"
    assert torch.equal(after[same].weight, before[same].weight)
    assert SampleConfig(sampler="lcm").step_count() == 4 and SampleConfig(sampler="lcm").scale_of_guidance() == 1


def test_the_lcm_sampler_needs_its_adapter(folders):
    with quiet(), pytest.raises(ConfigError, match="LCM"):
        load_generator(dataclasses.replace(folders, fast=None), "cpu", fast=True)
