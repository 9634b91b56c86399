"""Tiny models of the real classes, saved in the layout in which their publishers save the real ones."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

SIDE = 64
"""Pixels of the tiny generator's picture."""
IDENTITY = 512
"""Numbers of an ArcFace vector; also the width of the tiny text encoder."""
WORDS = ("photo", "of", "a", "id", "person")
FACTOR_BLOCKS = (16, 32)
"""Two levels: one latent for 2x2 pixels."""


@contextlib.contextmanager
def quiet():
    """No progress bars and remarks of the libraries."""
    logging.disable(logging.CRITICAL)
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def write_tokenizer(folder: Path) -> None:
    """A byte-pair tokenizer that knows the words of the prompt, in CLIP's files."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(set("".join(WORDS)))
    vocabulary = [*letters, *(letter + "</w>" for letter in letters)]
    merges = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = [parts[0] + parts[1], *parts[2:]]
            vocabulary.append(parts[0])
    vocabulary = [*dict.fromkeys(vocabulary), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in dict.fromkeys(merges))]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    special["pad_token"] = "<|endoftext|>"
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    config = special | {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def vocabulary_size(folder: Path) -> int:
    return len(json.loads((folder / "vocab.json").read_text()))


def write_text_encoder(folder: Path, vocabulary: int) -> None:
    """A CLIP text encoder of one layer, its tensors named as in the files of the hub."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=IDENTITY,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )
    CLIPTextModel(config).save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    prefix = "text_model."
    named = {name if name.startswith(prefix) else prefix + name: tensor for name, tensor in tensors.items()}
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})


def tiny_unet():
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=SIDE // 2,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=IDENTITY,
        attention_head_dim=8,
        norm_num_groups=4,
    )


def tiny_controlnet():
    from diffusers import ControlNetModel

    return ControlNetModel(
        block_out_channels=(16, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        layers_per_block=1,
        cross_attention_dim=IDENTITY,
        attention_head_dim=8,
        norm_num_groups=4,
        conditioning_embedding_out_channels=(8, 16),
    )


def tiny_vae():
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=FACTOR_BLOCKS,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=SIDE,
        scaling_factor=0.5,
    )


def train_vae(vae, images: np.ndarray, steps: int, patch: int = 48) -> None:
    """Teach the tiny autoencoder some pictures: what it cannot keep, nothing behind it can show."""
    torch.manual_seed(0)
    data = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    optimizer = torch.optim.Adam(vae.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    random = np.random.default_rng(0)
    for _ in range(steps):
        rows = random.integers(0, len(data), 4)
        y, x = (int(random.integers(0, s - patch + 1)) for s in data.shape[-2:])
        batch = data[rows, :, y : y + patch, x : x + patch]
        latents = vae.encode(batch).latent_dist.mode()
        loss = F.l1_loss(vae.decode(latents).sample, batch) + 1e-3 * ((latents * 0.5).pow(2).mean() - 1).abs()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def write_scheduler(folder: Path) -> None:
    """Stable Diffusion 1.5's noise schedule."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "_class_name": "PNDMScheduler",
        "_diffusers_version": "0.6.0",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "trained_betas": None,
    }
    (folder / "scheduler_config.json").write_text(json.dumps(config))


def write_generator(root: Path, images: np.ndarray | None = None, vae_steps: int = 150) -> None:
    """Folders ``arc2face``, ``stable-diffusion-v1-5`` and ``controlnet-mediapipe-face``, as the hub has them."""
    torch.manual_seed(0)
    with quiet():
        base = root / "stable-diffusion-v1-5"
        write_tokenizer(base / "tokenizer")
        write_scheduler(base / "scheduler")
        vae = tiny_vae()
        if images is not None:
            train_vae(vae, images, vae_steps)
        vae.save_pretrained(base / "vae")
        size = vocabulary_size(base / "tokenizer")
        write_text_encoder(base / "text_encoder", size)
        write_text_encoder(root / "arc2face" / "encoder", size)
        tiny_unet().save_pretrained(root / "arc2face" / "arc2face")
        controlnet = tiny_controlnet()
        for name, parameter in controlnet.named_parameters():
            if "controlnet_" in name or "cond_embedding.conv_out" in name:  # zero at birth: it would do nothing
                torch.nn.init.normal_(parameter, std=0.4)
        controlnet.save_pretrained(root / "controlnet-mediapipe-face")
