"""The tiny models of the tests are what the tests take them for."""

from __future__ import annotations


def test_the_exact_autoencoder_keeps_pictures(generator, pictures):
    images = generator.to_tensor(list(pictures)) * 2 - 1
    latents = generator.encode(images)
    assert latents.shape == (8, 4, 64, 64)
    assert float((generator.decode(latents) - images).abs().max()) < 2e-3


def test_the_libraries_show_progress_afterwards_as_before(folders):
    """They are shared with whatever program uses this one."""
    from diffusers.utils import logging as first
    from tiny_models import quiet
    from transformers.utils import logging as second

    from gswap.swap.diffusion.models import load_generator

    before = [log.is_progress_bar_enabled() for log in (first, second)]
    try:
        first.enable_progress_bar()
        second.disable_progress_bar()
        with quiet():
            load_generator(folders, "cpu")
        assert first.is_progress_bar_enabled() and not second.is_progress_bar_enabled()
    finally:
        for log, shown in zip((first, second), before, strict=True):
            log.enable_progress_bar() if shown else log.disable_progress_bar()


def test_another_networks_weights_are_refused(folders, tmp_path):
    import dataclasses
    import shutil

    import pytest
    from safetensors.torch import load_file, save_file

    from gswap.foundation.errors import ConfigError
    from gswap.swap.diffusion.models import load_generator

    broken = tmp_path / "unet"
    shutil.copytree(folders.unet, broken)
    path = broken / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights.pop("conv_in.weight")
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match="conv_in"):
        load_generator(dataclasses.replace(folders, unet=broken), "cpu")
    with pytest.raises(ConfigError, match="Cannot load"):
        load_generator(dataclasses.replace(folders, unet=tmp_path / "nothing"), "cpu")
