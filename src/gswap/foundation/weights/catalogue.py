"""Every pretrained part that gswap can use: what it is, where it comes from, under which licence, and its hashes.

Hashes and sizes are those under which the files are published and quoted by independent projects. ``None`` = not
known to us: the hash is recorded at the first pull and pinned from then on. Repositories of the model hub are pinned
to a commit where one is known.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from gswap.foundation.errors import UsageError

HUB_VARIABLE = "GSWAP_HUB"
"""Environment variable with the base address of the model hub (a mirror, or a stand-in for tests)."""
RELEASES_VARIABLE = "GSWAP_RELEASES"
"""Environment variable with a base address in front of the host and path of files outside the hub (a mirror)."""
DEFAULT_HUB = "https://huggingface.co"

_INSIGHTFACE = "insightface: non-commercial research only"
_OPENRAIL = "CreativeML OpenRAIL-M: its use restrictions travel with the weights"
_HUB_BSD_RELEASE = "github.com/xinntao/Real-ESRGAN/releases/download"


@dataclass(frozen=True)
class WeightFile:
    """One file of a part."""

    path: str
    """Where it lies in the part's folder, with forward slashes."""
    source: str
    """``repo:path`` on the model hub, ``host/path`` elsewhere, or empty where the user supplies the file."""
    sha256: str | None = None
    """Of the file as it is published, in lower-case hexadecimal."""
    bytes: int | None = None
    """Size of the file as it is published."""
    revision: str = "main"
    """Commit on the model hub."""
    convert: Literal["", "pickle"] = ""
    """``pickle``: published as a PyTorch pickle; becomes safetensors when it comes, without being unpickled."""

    @property
    def url(self) -> str:
        """Where to fetch it; empty where the user supplies it."""
        if not self.source:
            return ""
        repository, colon, remote = self.source.partition(":")
        if colon:
            hub = os.environ.get(HUB_VARIABLE, DEFAULT_HUB).rstrip("/")
            return f"{hub}/{repository}/resolve/{self.revision}/{remote}"
        mirror = os.environ.get(RELEASES_VARIABLE)
        return f"{mirror.rstrip('/')}/{self.source}" if mirror else f"https://{self.source}"


@dataclass(frozen=True)
class WeightSpec:
    """A pretrained part."""

    name: str
    title: str
    """What it does, in a few words."""
    part: str
    """Which exchangeable part of a job it serves: a field of ``gswap.pipeline.config.Parts``, or ``evaluation``."""
    files: tuple[WeightFile, ...]
    licence: str
    commercial: bool
    """Whether the licence of the weights, and of what they were trained from as far as it binds, allows business."""
    origin: str
    """Who made it: a page or repository to read."""
    note: str = ""

    @property
    def pullable(self) -> bool:
        """Whether every file can be fetched; otherwise some are supplied with ``weights import``."""
        return all(item.source for item in self.files)

    @property
    def bytes(self) -> int | None:
        """Size of the download, where all sizes are known."""
        sizes = [item.bytes for item in self.files]
        return None if None in sizes else sum(size for size in sizes if size)


def _hub(repository: str, *paths: str, revision: str = "main", below: str = "") -> tuple[WeightFile, ...]:
    """Files of one hub repository whose hashes we do not know, kept at their own paths (less ``below``)."""
    return tuple(WeightFile(p.removeprefix(below), f"{repository}:{p}", revision=revision) for p in paths)


_SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
_SD15_REVISION = "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"
_LIVE_PORTRAIT = "github.com/facefusion/facefusion-assets/releases/download/models-3.0.0"

_SPECS = (
    WeightSpec(
        "arc2face",
        "Arc2Face: UNet and identity encoder",
        "swapper",
        (
            *_hub("FoivosPar/Arc2Face", "arc2face/config.json", "arc2face/diffusion_pytorch_model.safetensors"),
            *_hub("FoivosPar/Arc2Face", "encoder/config.json"),
            WeightFile("encoder/model.safetensors", "FoivosPar/Arc2Face:encoder/pytorch_model.bin", convert="pickle"),
        ),
        "MIT (trained on WebFace42M and FFHQ, which are research data)",
        False,
        "https://github.com/foivospar/Arc2Face (arXiv 2403.11641)",
        "About 4 GB.",
    ),
    WeightSpec(
        "stable-diffusion-v1-5",
        "Stable Diffusion 1.5: autoencoder, tokenizer, text encoder, scheduler (not its UNet)",
        "swapper",
        (
            *_hub(_SD15, "scheduler/scheduler_config.json", revision=_SD15_REVISION),
            *_hub(
                _SD15,
                "tokenizer/merges.txt",
                "tokenizer/special_tokens_map.json",
                "tokenizer/tokenizer_config.json",
                "tokenizer/vocab.json",
                "text_encoder/config.json",
                "vae/config.json",
                revision=_SD15_REVISION,
            ),
            WeightFile(
                "text_encoder/model.safetensors",
                f"{_SD15}:text_encoder/model.safetensors",
                "d008943c017f0092921106440254dbbe00b6a285f7883ec8ba160c3faad88334",
                492265874,
                _SD15_REVISION,
            ),
            WeightFile(
                "vae/diffusion_pytorch_model.safetensors",
                f"{_SD15}:vae/diffusion_pytorch_model.safetensors",
                "a2b5134f4dbc140d9c11f11cba3233099e00af40f262f136c691fb7d38d2194c",
                334643276,
                _SD15_REVISION,
            ),
        ),
        _OPENRAIL,
        True,
        f"{DEFAULT_HUB}/stable-diffusion-v1-5/stable-diffusion-v1-5",
    ),
    WeightSpec(
        "stable-diffusion-v1-5-unet",
        "Stable Diffusion 1.5: its UNet, for plain garments over the photos' clothes",
        "swapper",
        (
            *_hub(_SD15, "unet/config.json", revision=_SD15_REVISION, below="unet/"),
            WeightFile(
                "diffusion_pytorch_model.safetensors",
                f"{_SD15}:unet/diffusion_pytorch_model.safetensors",
                "19da7aaa4b880e59d56843f1fcb4dd9b599c28a1d9d9af7c1143057c8ffae9f1",
                3438167540,
                _SD15_REVISION,
            ),
        ),
        _OPENRAIL,
        True,
        f"{DEFAULT_HUB}/stable-diffusion-v1-5/stable-diffusion-v1-5",
        "Only for --diffusion.sources.clothes garment.",
    ),
    WeightSpec(
        "controlnet-mediapipe-face",
        "ControlNet on MediaPipe's face contours and pupils",
        "controlnet",
        (
            *_hub("CrucibleAI/ControlNetMediaPipeFace", "diffusion_sd15/config.json", below="diffusion_sd15/"),
            WeightFile(
                "diffusion_pytorch_model.safetensors",
                "CrucibleAI/ControlNetMediaPipeFace:diffusion_sd15/diffusion_pytorch_model.bin",
                convert="pickle",
            ),
        ),
        "OpenRAIL",
        True,
        f"{DEFAULT_HUB}/CrucibleAI/ControlNetMediaPipeFace",
    ),
    WeightSpec(
        "controlnet-openpose",
        "ControlNet on OpenPose's skeleton and 70 face points",
        "controlnet",
        _hub("lllyasviel/control_v11p_sd15_openpose", "config.json", "diffusion_pytorch_model.safetensors"),
        "OpenRAIL",
        True,
        f"{DEFAULT_HUB}/lllyasviel/control_v11p_sd15_openpose",
    ),
    WeightSpec(
        "lcm-lora-sdv1-5",
        "LCM LoRA: 2 to 4 sampling steps",
        "swapper",
        (
            WeightFile(
                "pytorch_lora_weights.safetensors",
                "latent-consistency/lcm-lora-sdv1-5:pytorch_lora_weights.safetensors",
                "8f90d840e075ff588a58e22c6586e2ae9a6f7922996ee6649a7f01072333afe4",
                134621556,
                "cf2fced511dbe7e26c8d1d397e728fbab875db4b",
            ),
        ),
        "OpenRAIL++",
        True,
        f"{DEFAULT_HUB}/latent-consistency/lcm-lora-sdv1-5 (arXiv 2311.05556)",
    ),
    WeightSpec(
        "liveportrait",
        "LivePortrait: coarse reenactment, as ONNX",
        "reenactor",
        tuple(
            WeightFile(f"{name}.onnx", f"{_LIVE_PORTRAIT}/live_portrait_{name}.onnx")
            for name in ("feature_extractor", "motion_extractor", "generator")
        ),
        "MIT",
        True,
        "https://github.com/KwaiVGI/LivePortrait (arXiv 2407.03168); converted by facefusion",
    ),
    WeightSpec(
        "farl",
        "FaRL: face parsing, 19 classes",
        "parser",
        (
            WeightFile(
                "farl.pt",
                "github.com/FacePerceiver/facer/releases/download/models-v1/"
                "face_parsing.farl.celebm.main_ema_181500_jit.pt",
                "bbc1f0e9f68c80eb83a0b23f33850d1e10f2ec1eda96884112d111c2c1f15c79",
                646629586,
            ),
        ),
        "MIT (trained on CelebAMask-HQ, which is non-commercial)",
        False,
        "https://github.com/FacePerceiver/facer (arXiv 2112.03109)",
        "TorchScript: read by torch's own restricted loader, and only with this very hash.",
    ),
    WeightSpec(
        "segformer",
        "SegFormer: face parsing, 19 classes",
        "parser",
        _hub("jonathandinu/face-parsing", "config.json", "preprocessor_config.json", "model.safetensors"),
        "NVIDIA SegFormer and CelebAMask-HQ: non-commercial",
        False,
        f"{DEFAULT_HUB}/jonathandinu/face-parsing (arXiv 2105.15203)",
        "About 340 MB.",
    ),
    WeightSpec(
        "lama",
        "LaMa: inpainting of the plate",
        "inpainter",
        (
            WeightFile(
                "lama.onnx",
                "Carve/LaMa-ONNX:lama_fp32.onnx",
                "1faef5301d78db7dda502fe59966957ec4b79dd64e16f03ed96913c7a4eb68d6",
                208044816,
                "c3c0c9e468934d62e79c329e35d82dd09ff8c444",
            ),
        ),
        "Apache-2.0",
        True,
        "https://github.com/advimman/lama (arXiv 2109.07161); converted by Carve",
    ),
    WeightSpec(
        "arcface-arc2face",
        "ArcFace that conditions Arc2Face (WebFace42M)",
        "swapper",
        _hub("FoivosPar/Arc2Face", "arcface.onnx"),
        "MIT (trained on WebFace42M, which is research data)",
        False,
        "https://github.com/foivospar/Arc2Face",
        "261 MB.",
    ),
    WeightSpec(
        "arcface-antelopev2",
        "ArcFace of insightface's antelopev2 (glint360k, ResNet-100)",
        "identity",
        (
            WeightFile(
                "glintr100.onnx",
                "DIAMONIK7777/antelopev2:glintr100.onnx",
                "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf",
            ),
        ),
        _INSIGHTFACE,
        False,
        "https://github.com/deepinsight/insightface (arXiv 1801.07698)",
    ),
    WeightSpec(
        "arcface-buffalo",
        "ArcFace of insightface's buffalo_l (WebFace600K, ResNet-50): for evaluation, unrelated to Arc2Face's",
        "identity",
        (
            WeightFile(
                "w600k_r50.onnx",
                "github.com/visomaster/visomaster-assets/releases/download/v1.0.0/w600k_r50.onnx",
                "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
            ),
        ),
        _INSIGHTFACE,
        False,
        "https://github.com/deepinsight/insightface (arXiv 1801.07698)",
    ),
    WeightSpec(
        "clip-vit-b32",
        "CLIP ViT-B/32: frame consistency",
        "evaluation",
        (
            *_hub(
                "openai/clip-vit-base-patch32",
                "config.json",
                "preprocessor_config.json",
                revision="3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
            ),
            WeightFile(
                "model.safetensors",
                "openai/clip-vit-base-patch32:pytorch_model.bin",
                "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
                605247071,
                "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
                "pickle",
            ),
        ),
        "MIT",
        True,
        f"{DEFAULT_HUB}/openai/clip-vit-base-patch32 (arXiv 2103.00020)",
    ),
    WeightSpec(
        "smirk",
        "SMIRK: expression, eyelids and jaw of a face (AED and APD of Table II)",
        "evaluation",
        (WeightFile("SMIRK_em1.safetensors", "", convert="pickle"),),
        "MIT code; the weights need FLAME 2020, which is non-commercial",
        False,
        "https://github.com/georgeretsi/smirk (arXiv 2404.04104)",
        "Its authors distribute SMIRK_em1.pt by hand; import that file.",
    ),
    WeightSpec(
        "lpips-vgg",
        "LPIPS on VGG-16: perceptual loss",
        "perceptual",
        (
            # torchvision's weights with torchvision's names, as safetensors.
            WeightFile(
                "vgg16.safetensors",
                "timm/vgg16.tv_in1k:model.safetensors",
                "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
                revision="3394518cba29aee1ea82a49d971be90d2dd1dab7",
            ),
            WeightFile(
                "lin.safetensors",
                "raw.githubusercontent.com/richzhang/PerceptualSimilarity/"
                "082bb24f84c091ea94de2867d34c4544f68e0963/lpips/weights/v0.1/vgg.pth",
                "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
                convert="pickle",
            ),
        ),
        "BSD-2-Clause (LPIPS), BSD-3-Clause (torchvision's VGG-16, trained on ImageNet)",
        True,
        "https://github.com/richzhang/PerceptualSimilarity (arXiv 1801.03924)",
        "About 530 MB.",
    ),
    WeightSpec(
        "real-esrgan-x4",
        "Real-ESRGAN x4plus (RRDBNet): super-resolution guidance",
        "upscaler",
        (
            WeightFile(
                "real_esrgan_x4.safetensors",
                f"{_HUB_BSD_RELEASE}/v0.1.0/RealESRGAN_x4plus.pth",
                "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
                67040989,
                convert="pickle",
            ),
        ),
        "BSD-3-Clause",
        True,
        "https://github.com/xinntao/Real-ESRGAN (arXiv 2107.10833)",
    ),
    WeightSpec(
        "real-esrgan-x2",
        "Real-ESRGAN x2plus (RRDBNet): super-resolution guidance at twice the size",
        "upscaler",
        (
            WeightFile(
                "real_esrgan_x2.safetensors",
                f"{_HUB_BSD_RELEASE}/v0.2.1/RealESRGAN_x2plus.pth",
                "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
                convert="pickle",
            ),
        ),
        "BSD-3-Clause",
        True,
        "https://github.com/xinntao/Real-ESRGAN (arXiv 2107.10833)",
    ),
    WeightSpec(
        "smplx",
        "SMPL-X body",
        "body",
        (WeightFile("SMPLX_NEUTRAL.npz", ""), WeightFile("SMPLX_NEUTRAL.landmarks.npz", "")),
        "Max Planck: non-commercial research; its holders register and download it themselves",
        False,
        "https://smpl-x.is.tue.mpg.de",
        "Read its licence first: it bars this kind of use outside peer-reviewed research. "
        "python scripts/make_landmark_map.py --smplx SMPLX_NEUTRAL.npz makes the landmark map, beside it.",
    ),
)

CATALOGUE: dict[str, WeightSpec] = {entry.name: entry for entry in _SPECS}
"""All parts, by name."""


def spec(name: str) -> WeightSpec:
    """The part of this name.

    Raises:
        UsageError: There is none.
    """
    if name not in CATALOGUE:
        raise UsageError(f"Expected one of the parts {', '.join(CATALOGUE)}, found {name!r}.")
    return CATALOGUE[name]
