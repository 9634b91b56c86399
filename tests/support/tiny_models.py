"""Tiny models of the real classes, saved in the layout in which their publishers save the real ones."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

SIDE = 64
"""Pixels of the tiny generator's picture."""
IDENTITY = 512
"""Numbers of an ArcFace vector; also the width of the tiny text encoder."""
WORDS = ("photo", "of", "a", "id", "person")
CHANNELS = (8, 8, 16)
WIDTH = 16
"""Channels inside the tiny autoencoder."""
POOL = 16
"""Side of the cells that the tiny face recogniser looks at."""
LARGE, ACTIVE = 200.0, 24.0
"""Constants of :func:`exact_vae`."""


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
    """Three levels, attention at the lowest only: cheap at the full resolution."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=SIDE,
        in_channels=4,
        out_channels=4,
        block_out_channels=CHANNELS,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=IDENTITY,
        attention_head_dim=8,
        norm_num_groups=4,
    )


def tiny_controlnet():
    """A ControlNet for that UNet whose last layers are not zero: at birth they are, and it does nothing."""
    from diffusers import ControlNetModel

    net = ControlNetModel(
        block_out_channels=CHANNELS,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        layers_per_block=1,
        cross_attention_dim=IDENTITY,
        attention_head_dim=8,
        norm_num_groups=4,
        conditioning_embedding_out_channels=(8,),
    )
    for name, parameter in net.named_parameters():
        if "controlnet_" in name or "cond_embedding.conv_out" in name:
            torch.nn.init.normal_(parameter, std=0.4)
    return net


def exact_vae():
    """An autoencoder that keeps every picture: its latents are the colours, at the picture's own resolution.

    Its blocks add nothing. What is left is its normalisation and its activation, which a large constant beside every
    colour and its negative make linear: mean 0, the same deviation for all pictures, far out on the activation.
    """
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=(WIDTH,),
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=1,
        mid_block_add_attention=False,
        sample_size=SIDE,
        scaling_factor=2.0,
    )
    with torch.no_grad():
        for name, parameter in vae.named_parameters():
            if ("resnets" in name and "conv2" in name) or "to_out" in name:
                parameter.zero_()
        for half in (vae.encoder, vae.decoder):
            for conv in (half.conv_in, half.conv_out):
                conv.weight.zero_()
                conv.bias.zero_()
            for c in range(3):
                half.conv_in.weight[c, c, 1, 1], half.conv_in.weight[c + 3, c, 1, 1] = 1, -1
                half.conv_out.weight[c, c, 1, 1], half.conv_out.bias[c] = 1, -ACTIVE
            half.conv_in.bias[6], half.conv_in.bias[7] = LARGE, -LARGE
            half.conv_norm_out.weight.fill_(LARGE * (2 / WIDTH) ** 0.5)
            half.conv_norm_out.bias.fill_(ACTIVE)
        for conv in (vae.quant_conv, vae.post_quant_conv):
            conv.weight.copy_(torch.eye(len(conv.weight))[..., None, None])
            conv.bias.zero_()
    return vae


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


LCM_RANK, LCM_ALPHA = 2, 1.0
LCM_LAYERS = (
    "down_blocks_2_attentions_0_transformer_blocks_0_attn1_to_q",
    "down_blocks_2_attentions_0_transformer_blocks_0_attn2_to_out_0",
    "down_blocks_0_resnets_0_conv1",
)
"""Layers of :func:`tiny_unet` that the tiny LCM adapter changes, as the published file spells such names."""


def write_lcm(path: Path) -> None:
    """Low-rank changes of a UNet under the names and in the shapes of the published LCM adapter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    layers = {name.replace(".", "_"): module for name, module in tiny_unet().named_modules()}
    tensors = {}
    for name in LCM_LAYERS:
        weight = layers[name].weight
        outputs, inputs, *kernel = weight.shape
        ones = [1] * len(kernel)
        tensors |= {
            f"lora_unet_{name}.lora_down.weight": 0.1 * torch.randn(LCM_RANK, inputs, *kernel),
            f"lora_unet_{name}.lora_up.weight": 0.1 * torch.randn(outputs, LCM_RANK, *ones),
            f"lora_unet_{name}.alpha": torch.tensor(LCM_ALPHA),
        }
    save_file(tensors, path)


def write_generator(root: Path) -> None:
    """What the paper's generator is made of, a folder for each part, as the hub has them."""
    torch.manual_seed(0)
    with quiet():
        base = root / "stable-diffusion-v1-5"
        write_tokenizer(base / "tokenizer")
        write_scheduler(base / "scheduler")
        exact_vae().save_pretrained(base / "vae")
        size = vocabulary_size(base / "tokenizer")
        write_text_encoder(base / "text_encoder", size)
        write_text_encoder(root / "arc2face" / "encoder", size)
        tiny_unet().save_pretrained(root / "arc2face" / "arc2face")
        tiny_controlnet().save_pretrained(root / "controlnet-mediapipe-face")
        tiny_controlnet().save_pretrained(root / "controlnet-openpose")
        tiny_unet().save_pretrained(root / "stable-diffusion-v1-5-unet")
        write_lcm(root / "lcm-lora-sdv1-5" / "pytorch_lora_weights.safetensors")


def write_arcface(path: Path) -> None:
    """A face recogniser with ArcFace's input and output: colours of a coarse grid, turned at random."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    cells = (112 // POOL) ** 2 * 3
    turn = np.random.default_rng(0).normal(size=(cells, IDENTITY)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["data"], ["coarse"], kernel_shape=[POOL, POOL], strides=[POOL, POOL]),
        helper.make_node("Flatten", ["coarse"], ["flat"]),
        helper.make_node("MatMul", ["flat", "turn"], ["fc1"]),
    ]
    graph = helper.make_graph(
        nodes,
        "arcface",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, 112, 112])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, ["N", IDENTITY])],
        [numpy_helper.from_array(turn, "turn")],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def write_all(root: Path) -> None:
    """Every part that the paper's swapper pulls."""
    write_generator(root)
    write_arcface(root / "arcface-arc2face" / "arcface.onnx")
