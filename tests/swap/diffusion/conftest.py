from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("peft")

from tiny_models import quiet, write_generator

from gswap.swap.diffusion.models import BaseFolders, GeneratorFolders, load_generator


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """A training amplifies the last bits of its sums, and those depend on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def pictures() -> np.ndarray:
    """Smooth colourful pictures."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] / 64
    waves = [np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in random.uniform(-2, 2, (24, 3))]
    images = np.stack(waves).reshape(8, 3, 64, 64).transpose(0, 2, 3, 1)
    return np.round(127 + 100 * images).astype(np.uint8)


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> GeneratorFolders:
    root = tmp_path_factory.mktemp("tiny")
    write_generator(root)
    base = root / "stable-diffusion-v1-5"
    return GeneratorFolders(
        unet=root / "arc2face" / "arc2face",
        text_encoder=root / "arc2face" / "encoder",
        controlnet=root / "controlnet-mediapipe-face",
        vae=base / "vae",
        tokenizer=base / "tokenizer",
        scheduler=base / "scheduler",
        fast=root / "lcm-lora-sdv1-5" / "pytorch_lora_weights.safetensors",
    )


@pytest.fixture(scope="session")
def base(folders) -> BaseFolders:
    """Stable Diffusion itself."""
    return BaseFolders(
        unet=folders.unet.parents[1] / "stable-diffusion-v1-5-unet",
        text_encoder=folders.vae.parent / "text_encoder",
        vae=folders.vae,
        tokenizer=folders.tokenizer,
        scheduler=folders.scheduler,
    )


@pytest.fixture
def generator(folders):
    with quiet():
        return load_generator(folders, "cpu")
