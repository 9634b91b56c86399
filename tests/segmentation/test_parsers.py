"""The parsers' own pre- and post-processing, against what the originals document; and tiny networks of their kinds."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gswap.foundation.errors import WeightsError
from gswap.foundation.landmarks import FIVE_POINTS, OVAL
from gswap.segmentation.adapters import parsing
from gswap.segmentation.adapters.farl import CLASSES, SIDE, FarlParser
from gswap.segmentation.adapters.parsing import Square, parse_head

SKIN, HAIR, CLOTH, WALL = (200, 150, 120), (60, 40, 20), (30, 60, 160), (90, 160, 90)
NECK = (160, 110, 90)


def five(points: list[tuple[float, float]]) -> np.ndarray:
    """478 landmarks of which the five that alignment uses, and the oval, are known."""
    landmarks = np.full((478, 3), np.nan)
    landmarks[list(FIVE_POINTS), :2] = points
    centre = np.mean(points, 0)
    reach = 1.6 * np.hypot(*(np.array(points[1]) - points[0]))
    angles = np.linspace(0, 2 * np.pi, len(OVAL), endpoint=False) - np.pi / 2
    for index, angle in zip(OVAL, angles, strict=True):
        landmarks[index, :2] = centre + reach * 0.7 * np.array([np.cos(angle), np.sin(angle)])
    return landmarks


UPRIGHT = five([(140, 150), (180, 152), (161, 175), (146, 198), (176, 199)])
TURNED = five([(150, 130), (178, 160), (155, 165), (120, 172), (142, 196)])


def person() -> np.ndarray:
    """A drawn person: face around (160, 170), hair above it, neck, clothes."""
    image = np.full((320, 360, 3), WALL, np.uint8)
    ys, xs = np.mgrid[:320, :360] + 0.5
    image[(ys > 255) & (np.abs(xs - 160) < 110)] = CLOTH
    image[(ys > 215) & (ys <= 262) & (np.abs(xs - 160) < 22)] = NECK
    image[((xs - 160) / 62) ** 2 + ((ys - 150) / 78) ** 2 < 1] = HAIR
    image[((xs - 160) / 44) ** 2 + ((ys - 172) / 56) ** 2 < 1] = SKIN
    return image


def by_colour(names: tuple[str, ...], channels_last: bool = False) -> nn.Module:
    """A network that tells the drawn person's classes by their colours, of FaRL's signature."""
    colours = dict(background=WALL, neck=NECK, cloth=CLOTH, face=SKIN, skin=SKIN, hair=HAIR)

    class Classify(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            table = torch.tensor([colours.get(n, (1000, 1000, 1000)) for n in names]) / 255
            self.register_buffer("table", table)

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            difference = image[:, None] - self.table[None, :, :, None, None]
            logits = -40.0 * difference.square().sum(2)
            return logits, logits

    return Classify()


@pytest.fixture(scope="module")
def farl(tmp_path_factory):
    path = tmp_path_factory.mktemp("farl") / "farl.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(by_colour(CLASSES), torch.zeros(1, 3, SIDE, SIDE)).save(str(path))
    return path


# ---------------------------------------------------------------- geometry, as facer documents it
def documented_quad(points: np.ndarray) -> np.ndarray:
    """Corners of the square of CelebA-HQ (arXiv 1710.10196, appendix C), as facer aligns faces."""
    turn = lambda v: np.array([-v[1], v[0]])  # noqa: E731
    eyes, mouth = (points[0] + points[1]) / 2, (points[3] + points[4]) / 2
    x = points[1] - points[0] - turn(mouth - eyes)
    x = x / np.hypot(*x)
    x = x * max(np.hypot(*(points[1] - points[0])) * 2.0, np.hypot(*(mouth - eyes)) * 1.8)
    y = turn(x)
    c = eyes + (mouth - eyes) * 0.1
    return np.stack([c - x - y, c + x - y, c + x + y, c - x + y])


@pytest.mark.parametrize("landmarks", [UPRIGHT, TURNED], ids=["upright", "turned"])
def test_the_square_is_the_documented_one(landmarks):
    square = Square.around(landmarks, SIDE)
    corners = documented_quad(landmarks[list(FIVE_POINTS), :2])
    found = corners @ square.matrix[:, :2].T + square.matrix[:, 2]
    np.testing.assert_allclose(found, [[0, 0], [SIDE, 0], [SIDE, SIDE], [0, SIDE]], atol=1e-9)


@pytest.mark.parametrize("landmarks", [UPRIGHT, TURNED], ids=["upright", "turned"])
def test_cutting_and_putting_back_sample_as_the_original(landmarks):
    """The original samples with ``grid_sample`` (bilinear, align_corners off, zeros outside), both ways."""
    rng = np.random.default_rng(0)
    image = np.repeat(np.repeat(rng.integers(0, 256, (40, 45, 3), dtype=np.uint8), 8, 0), 8, 1)
    square = Square.around(landmarks, SIDE)
    height, width = image.shape[:2]
    ys, xs = np.mgrid[:SIDE, :SIDE] + 0.5
    inverse = np.linalg.inv(square.matrix[:, :2])
    at = (np.stack([xs, ys], -1) - square.matrix[:, 2]) @ inverse.T
    grid = torch.tensor(at / (width, height) * 2 - 1).float()[None]
    tensor = torch.tensor(image).permute(2, 0, 1)[None].float() / 255
    truth = F.grid_sample(tensor, grid, align_corners=False)[0].permute(1, 2, 0).numpy()
    # OpenCV interpolates with 1/32 of a pixel.
    assert np.abs(square.cut(image) - truth).mean() < 2e-3

    logits = rng.normal(size=(SIDE // 8, SIDE // 8)).astype(np.float32)
    logits = np.ascontiguousarray(np.kron(logits, np.ones((8, 8), np.float32)))
    ys, xs = np.mgrid[:height, :width] + 0.5
    at = np.stack([xs, ys], -1) @ square.matrix[:, :2].T + square.matrix[:, 2]
    grid = torch.tensor(at / SIDE * 2 - 1).float()[None]
    truth = F.grid_sample(torch.tensor(logits)[None, None], grid, align_corners=False)[0, 0].numpy()
    inside = ((at > 1) & (at < SIDE - 1)).all(-1)
    assert inside.mean() > 0.2
    assert np.abs(square.put_back(logits, width, height) - truth)[inside].mean() < 6e-3


def test_large_faces_are_averaged_not_sampled():
    image = np.random.default_rng(0).integers(0, 256, (1400, 1400, 3), dtype=np.uint8)
    landmarks = five([(500, 600), (900, 600), (700, 800), (550, 950), (850, 950)])
    picture = Square.around(landmarks, 112).cut(image)
    inner = picture[30:-30, 30:-30]
    assert inner.std() < 0.06 and abs(float(inner.mean()) - 0.5) < 0.02


# ---------------------------------------------------------------- masks
def agreement(found: np.ndarray, truth: np.ndarray) -> float:
    found = found > 127
    return float((found & truth).sum() / (found | truth).sum())


def truth_of(image: np.ndarray, *colours: tuple[int, int, int]) -> np.ndarray:
    return np.any([(image == c).all(-1) for c in colours], 0)


def test_farl_gives_head_neck_and_person(farl):
    image = person()
    masks = FarlParser(farl)(image, UPRIGHT)
    assert masks.head.dtype == np.uint8 and masks.head.shape == image.shape[:2]
    assert agreement(masks.head, truth_of(image, SKIN, HAIR)) > 0.97
    assert agreement(masks.neck, truth_of(image, NECK)) > 0.9
    reached = masks.person > 127
    assert reached[170, 160] and reached[280, 160] and not reached[20, 20]
    assert (masks.person.astype(int) + 1 >= masks.head.astype(int) + masks.neck).all()


def test_hair_beyond_the_aligned_square_is_found(farl):
    image = person()
    ys, xs = np.mgrid[:320, :360] + 0.5
    image[(np.abs(xs - 160) < 62) & (ys > 5) & (ys < 120)] = HAIR
    corners = documented_quad(UPRIGHT[list(FIVE_POINTS), :2])
    assert corners[:, 1].min() > 40, "the aligned square ends below the hair"
    masks = FarlParser(farl)(image, UPRIGHT)
    assert (masks.head[20:40, 130:190] > 200).all()


def test_another_head_is_not_ours(farl):
    image = person()
    ys, xs = np.mgrid[:320, :360] + 0.5
    image[((xs - 290) / 25) ** 2 + ((ys - 150) / 40) ** 2 < 1] = SKIN
    masks = FarlParser(farl)(image, UPRIGHT)
    assert (masks.head[120:180, 275:305] < 20).all()


def test_farl_as_onnx_is_the_same(farl, tmp_path):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    table = np.array(by_colour(CLASSES).table, np.float32)
    # |x - c|^2 = x.x - 2 x.c + c.c: two 1x1 convolutions.
    make = lambda name, value: numpy_helper.from_array(np.asarray(value, np.float32), name)  # noqa: E731
    nodes = [
        helper.make_node("Mul", ["image", "image"], ["squared"]),
        helper.make_node("Conv", ["squared", "ones"], ["norm"]),
        helper.make_node("Conv", ["image", "colours", "offsets"], ["dot"]),
        helper.make_node("Sub", ["dot", "norm"], ["difference"]),
        helper.make_node("Mul", ["difference", "forty"], ["logits"]),
    ]
    weights = [
        make("ones", np.ones((19, 3, 1, 1))),
        make("colours", 2 * table[:, :, None, None]),
        make("offsets", -(table**2).sum(1)),
        make("forty", 40.0),
    ]
    graph = helper.make_graph(
        nodes,
        "farl",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 19, SIDE, SIDE])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "farl.onnx")
    image = person()
    ours, theirs = FarlParser(tmp_path / "farl.onnx")(image, UPRIGHT), FarlParser(farl)(image, UPRIGHT)
    assert np.abs(ours.head.astype(int) - theirs.head).max() <= 1


def test_a_file_that_is_no_network_is_one_sentence(tmp_path):
    for name in ("farl.pt", "farl.onnx"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(WeightsError, match="Expected"):
            FarlParser(tmp_path / name)


def test_segformer_of_the_real_class_from_a_local_folder(tmp_path):
    transformers = pytest.importorskip("transformers")
    from gswap.segmentation.adapters.segformer import MEAN, STANDARD_DEVIATION, SegformerParser

    labels = ["background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth"]
    labels += ["u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth"]
    config = transformers.SegformerConfig(
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=16,
        id2label=dict(enumerate(labels)),
        label2id={n: i for i, n in enumerate(labels)},
    )
    torch.manual_seed(0)
    model = transformers.SegformerForSemanticSegmentation(config).eval()
    model.save_pretrained(tmp_path / "net")
    parser = SegformerParser(tmp_path / "net")
    assert parser.classes == tuple(labels)

    # The published example: the processor's own normalisation, logits enlarged bilinearly to the picture.
    picture = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    processor = transformers.SegformerImageProcessorPil(
        do_resize=False, image_mean=list(MEAN), image_std=list(STANDARD_DEVIATION)
    )
    inputs = processor(images=picture, return_tensors="pt")
    with torch.no_grad():
        small = model(**inputs).logits
    truth = F.interpolate(small, size=(512, 512), mode="bilinear", align_corners=False)[0].numpy()
    np.testing.assert_allclose(parser.logits(picture.astype(np.float32) / 255), truth, atol=1e-4)
    masks = parser(person(), UPRIGHT)
    assert masks.head.shape == (320, 360)


def test_a_segformer_of_other_classes_is_refused(tmp_path):
    transformers = pytest.importorskip("transformers")
    from gswap.segmentation.adapters.segformer import SegformerParser

    config = transformers.SegformerConfig(
        hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 1, 1], num_labels=3
    )
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path / "net")
    with pytest.raises(WeightsError, match="face parser"):
        SegformerParser(tmp_path / "net")
    with pytest.raises(WeightsError, match="SegFormer"):
        SegformerParser(tmp_path / "nowhere")


def test_all_classes_of_both_networks_belong_somewhere():
    segformer = "background skin nose eye_g l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip hair hat ear_r"
    for names in (CLASSES, (*segformer.split(), "neck_l", "neck", "cloth")):
        assert len(names) == 19
        known = {*parsing.HEAD, *parsing.NECK, *parsing.BODY, "background"}
        assert set(names) <= known
    assert "cloth" not in parsing.HEAD, "clothes are never head"


def test_our_masks_stay_where_the_parser_finds_nothing():
    ours = parsing.Masks(*(np.full((8, 8), v, np.uint8) for v in (255, 0, 255)))
    nothing = parsing.Masks(*(np.zeros((8, 8), np.uint8) for _ in range(3)))
    assert parsing.with_parsed_head(ours, nothing) is ours
    network = lambda picture: np.zeros((19, SIDE, SIDE), np.float32)  # noqa: E731
    assert parse_head(person(), UPRIGHT, network, CLASSES, SIDE).head.shape == (320, 360)
