"""Every pretrained part but the generator, tiny, in the layout of the folder of weights: ``<root>/<part>/<file>``."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny_onnx import tiny_arcface, tiny_lama, tiny_liveportrait
from torch import nn

LABELS = (
    *("background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear"),
    *("mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth"),
)
"""Classes of the published SegFormer."""


def write_farl(path: Path) -> None:
    """FaRL's signature: a parser that knows where heads are in an aligned square, and looks at nothing."""
    from gswap.segmentation.adapters.farl import CLASSES, SIDE

    class Place(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            ys, xs = torch.meshgrid(*[(torch.arange(SIDE) + 0.5) / SIDE] * 2, indexing="ij")
            logits = torch.full((1, len(CLASSES), SIDE, SIDE), -20.0)
            head = (((xs - 0.5) / 0.36) ** 2 + ((ys - 0.45) / 0.46) ** 2) < 1
            neck = (xs - 0.5).abs().lt(0.14) & ys.gt(0.85) & ~head
            logits[0, CLASSES.index("face")][head] = 5.0
            logits[0, CLASSES.index("neck")][neck] = 5.0
            logits[0, CLASSES.index("background")][~head & ~neck] = 5.0
            self.register_buffer("logits", logits)

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.logits + 0.0 * image.mean(), image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(Place(), torch.zeros(1, 3, SIDE, SIDE)).save(str(path))


def write_lpips(folder: Path) -> None:
    """VGG-16's names and LPIPS's weights, with few channels."""
    from gswap.metrics.lpips import STAGES

    torch.manual_seed(0)
    vgg, channels = {}, 3
    for depth, stage in enumerate(STAGES):
        for place in stage:
            conv = nn.Conv2d(channels, 2 * (depth + 1), 3)
            vgg |= {f"features.{place}.{k}": v for k, v in conv.state_dict().items()}
            channels = 2 * (depth + 1)
    lin = {f"lin{k}.model.1.weight": torch.rand(1, 2 * (k + 1), 1, 1) for k in range(5)}
    save_file(vgg, folder / "vgg16.safetensors")
    save_file(lin, folder / "lin.safetensors")


def write_rrdb(path: Path, scale: int) -> None:
    """Real-ESRGAN's network: its first layer says by how much it enlarges."""
    from gswap.rerender.upscalers import RrdbNet

    torch.manual_seed(0)
    save_file(RrdbNet(12 if scale == 2 else 3, features=8, growth=4, blocks=1).state_dict(), path)


def write_segformer(folder: Path) -> None:
    """A SegFormer of the published classes that sees background everywhere."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessorPil

    names = dict(enumerate(LABELS))
    config = SegformerConfig(
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=16,
        id2label=names,
        label2id={name: k for k, name in names.items()},
    )
    torch.manual_seed(0)
    model = SegformerForSemanticSegmentation(config)
    with torch.no_grad():
        model.decode_head.classifier.bias[0] = 20.0
    model.save_pretrained(folder)
    SegformerImageProcessorPil().save_pretrained(folder)


def write_parts(root: Path) -> None:
    """All of them; SMPL-X is not pulled but imported (``tiny_smplx``)."""
    for name in ("farl", "lama", "arcface-buffalo", "lpips-vgg", "real-esrgan-x2", "real-esrgan-x4", "segformer"):
        (root / name).mkdir(parents=True, exist_ok=True)
    write_farl(root / "farl" / "farl.pt")
    tiny_lama(root / "lama" / "lama.onnx", 64)
    tiny_arcface(root / "arcface-buffalo" / "w600k_r50.onnx")
    write_lpips(root / "lpips-vgg")
    for scale in (2, 4):
        write_rrdb(root / f"real-esrgan-x{scale}" / f"real_esrgan_x{scale}.safetensors", scale)
    write_segformer(root / "segformer")
    tiny_liveportrait(root / "liveportrait")
