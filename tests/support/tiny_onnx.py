"""Tiny ONNX networks with the signatures of real ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str]


def constant(name: str, value: object) -> onnx.TensorProto:
    """A float constant."""
    return numpy_helper.from_array(np.asarray(value, np.float32), name)


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, Shape],
    outputs: dict[str, Shape],
    constants: list[onnx.TensorProto],
) -> Path:
    """Write a network of float tensors."""
    tensors = lambda given: [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in given.items()]  # noqa: E731
    graph = helper.make_graph(nodes, "tiny", tensors(inputs), tensors(outputs), constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def tiny_lama(path: Path, side: int | None, fill: tuple[float, float, float] = (0.2, 0.4, 0.8)) -> Path:
    """LaMa's signature: keeps what is known, fills the hole with one colour, answers in [0, 255].

    ``side`` fixes the size of its pictures; ``None`` leaves it free.
    """
    size: tuple[int | str, int | str] = (side, side) if side else ("height", "width")
    nodes = [
        helper.make_node("Sub", ["one", "mask"], ["known"]),
        helper.make_node("Mul", ["image", "known"], ["kept"]),
        helper.make_node("Mul", ["colour", "mask"], ["painted"]),
        helper.make_node("Add", ["kept", "painted"], ["both"]),
        helper.make_node("Mul", ["both", "levels"], ["output"]),
    ]
    constants = [
        constant("one", 1.0),
        constant("colour", np.reshape(fill, (1, 3, 1, 1))),
        constant("levels", 255.0),
    ]
    inputs = {"image": (1, 3, *size), "mask": (1, 1, *size)}
    return save(path, nodes, inputs, {"output": (1, 3, *size)}, constants)


def tiny_arcface(path: Path, seed: int = 0) -> Path:
    """ArcFace's signature: a 112 x 112 face to 512 numbers, linear in its 7 x 7 mean colours."""
    rng = np.random.default_rng(seed)
    nodes = [
        helper.make_node("AveragePool", ["input.1"], ["means"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["683"]),
    ]
    return save(
        path,
        nodes,
        {"input.1": ("None", 3, 112, 112)},
        {"683": ("None", 512)},
        [constant("weights", rng.normal(size=(147, 512)))],
    )


def tiny_liveportrait(folder: Path, angles: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Path:
    """LivePortrait's three networks: one fixed motion, the picture as its own features, and that picture twice as
    large and brighter by how far the keypoints go on average."""
    folder.mkdir(parents=True, exist_ok=True)
    node = helper.make_node
    picture = {"input": ("N", 3, 256, 256)}
    save(
        folder / "feature_extractor.onnx", [node("Identity", ["input"], ["v"])], picture, {"v": ("N", 3, 256, 256)}, []
    )
    random = np.random.default_rng(0)
    keypoints = [random.normal(size=(1, 21, 3)) for _ in range(2)]
    motion: dict[str, tuple[object, Shape]] = {
        **{name: ([angle], [1]) for name, angle in zip(("pitch", "yaw", "roll"), angles, strict=True)},
        "scale": ([[1.2]], [1, 1]),
        "translation": ([[0.1, 0.2, 0.0]], [1, 3]),
        "expression": (keypoints[0], [1, 21, 3]),
        "motion_points": (keypoints[1], [1, 21, 3]),
    }
    nodes = [node("ReduceMean", ["input"], ["mean"], keepdims=0), node("Mul", ["mean", "zero"], ["nothing"])]
    nodes += [node("Add", [f"{name}_value", "nothing"], [name]) for name in motion]
    values = [constant("zero", 0.0), *(constant(f"{name}_value", value) for name, (value, _) in motion.items())]
    save(folder / "motion_extractor.onnx", nodes, picture, {name: shape for name, (_, shape) in motion.items()}, values)
    nodes = [
        node("Sub", ["source", "target"], ["moved"]),
        node("ReduceMean", ["moved"], ["by"], keepdims=0),
        node("Resize", ["feature_volume", "", "twice"], ["large"], mode="nearest"),
        node("Add", ["large", "by"], ["out"]),
    ]
    inputs = {"feature_volume": ("N", 3, 256, 256), "source": ("N", 21, 3), "target": ("N", 21, 3)}
    out = {"out": ("N", 3, 512, 512)}
    save(folder / "generator.onnx", nodes, inputs, out, [constant("twice", [1, 1, 2, 2])])
    return folder
