"""LaMa's pictures and masks as the original documents them, on a tiny network of its signature."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from tiny_onnx import save, tiny_lama

from gswap.foundation.errors import WeightsError
from gswap.segmentation.adapters.lama import LamaInpainter

FILL = np.array([51, 102, 204])


def picture(height: int = 90, width: int = 131) -> np.ndarray:
    ys, xs = np.mgrid[:height, :width]
    image = np.stack([xs * 1.5, ys * 2.0, (xs + ys) * 0.8], -1)
    return np.clip(image, 0, 255).astype(np.uint8)


def hole(height: int = 90, width: int = 131) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[20:60, 40:90] = 255
    mask[30, 38] = 1
    return mask


@pytest.mark.parametrize("side", [None, 64], ids=["free size", "fixed size"])
def test_only_the_hole_changes(tmp_path, side):
    inpaint = LamaInpainter(tiny_lama(tmp_path / "lama.onnx", side))
    image, mask = picture(), hole()
    out = inpaint(image, mask)
    assert out.dtype == np.uint8 and out.shape == image.shape
    assert (out[mask == 0] == image[mask == 0]).all()
    deep = np.zeros_like(mask, bool)
    deep[24:56, 44:86] = True  # a scaled picture mixes fill and surroundings along the border
    assert np.abs(out[mask > 0 if side is None else deep].astype(int) - FILL).max() <= (0 if side is None else 1)


def test_an_empty_hole_changes_nothing(tmp_path):
    inpaint = LamaInpainter(tiny_lama(tmp_path / "lama.onnx", 64))
    image = picture()
    assert (inpaint(image, np.zeros(image.shape[:2], np.uint8)) == image).all()


def recorded(inpaint: LamaInpainter) -> list[dict[str, np.ndarray]]:
    """What the network is given from now on."""
    calls: list[dict[str, np.ndarray]] = []
    session = inpaint._session

    class Recorder:
        def run(self, names, tensors):
            calls.append(tensors)
            return session.run(names, tensors)

    inpaint._session = Recorder()  # type: ignore[assignment]
    return calls


def test_pictures_are_padded_symmetrically_to_eight_in_zero_to_one(tmp_path):
    inpaint = LamaInpainter(tiny_lama(tmp_path / "lama.onnx", None))
    calls = recorded(inpaint)
    image, mask = picture(90, 131), hole(90, 131)
    inpaint(image, mask)
    given, where = calls[0]["image"], calls[0]["mask"]
    assert given.shape == (1, 3, 96, 136) and where.shape == (1, 1, 96, 136)
    truth = np.pad(image, ((0, 6), (0, 5), (0, 0)), mode="symmetric").transpose(2, 0, 1)[None] / 255
    np.testing.assert_allclose(given, truth, atol=1e-6)
    assert set(np.unique(where)) == {0, 1} and where[0, 0, 30, 38] == 1


def test_a_fixed_size_sees_the_hole_with_its_surroundings(tmp_path):
    inpaint = LamaInpainter(tiny_lama(tmp_path / "lama.onnx", 64))
    calls = recorded(inpaint)
    inpaint(picture(), hole())
    given, where = calls[0]["image"], calls[0]["mask"]
    assert given.shape == (1, 3, 64, 64) and 0.0 <= given.min() and given.max() <= 1.0
    share = where.mean()
    assert 0.2 < share < 0.45, "hole and context"
    assert where[0, 0, 0].max() == where[0, 0, -1].max() == 0


def test_a_small_hole_is_not_resampled(tmp_path):
    inpaint = LamaInpainter(tiny_lama(tmp_path / "lama.onnx", 64))
    calls = recorded(inpaint)
    image = np.random.default_rng(0).integers(0, 256, (90, 131, 3), dtype=np.uint8)
    mask = np.zeros((90, 131), np.uint8)
    mask[40:50, 60:75] = 255
    inpaint(image, mask)
    levels = np.round(calls[0]["image"][0].transpose(1, 2, 0) * 255).astype(np.uint8)
    found = [(y, x) for y in range(90 - 63) for x in range(131 - 63) if (levels == image[y : y + 64, x : x + 64]).all()]
    assert len(found) == 1, "a cut of the image, pixel for pixel"


def test_the_old_content_of_the_hole_does_not_leak(tmp_path):
    inpaint = LamaInpainter(tiny_lama(tmp_path / "lama.onnx", 64))
    calls = recorded(inpaint)
    image, mask = np.full((400, 400, 3), 100, np.uint8), np.zeros((400, 400), np.uint8)
    mask[100:300, 100:300] = 255
    image[mask > 0] = 255
    inpaint(image, mask)
    known = calls[0]["image"][0][:, calls[0]["mask"][0, 0] == 0]
    np.testing.assert_allclose(known, 100 / 255, atol=2e-3)


def test_other_networks_are_refused(tmp_path):
    from onnx import helper

    save(tmp_path / "x.onnx", [helper.make_node("Relu", ["a"], ["b"])], {"a": (1,)}, {"b": (1,)}, [])
    with pytest.raises(WeightsError, match="image and mask"):
        LamaInpainter(tmp_path / "x.onnx")
    (tmp_path / "y.onnx").write_bytes(b"x")
    with pytest.raises(WeightsError, match="ONNX"):
        LamaInpainter(tmp_path / "y.onnx")
