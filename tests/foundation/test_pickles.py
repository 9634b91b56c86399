"""PyTorch files become safetensors without a pickle being run; programs that want more are refused by name."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from gswap.foundation.errors import InputError
from gswap.foundation.weights.convert import pickle_to_safetensors
from gswap.foundation.weights.pickles import read_tensors

CONTAINERS = pytest.mark.parametrize("zipped", [True, False], ids=["archive", "stream"])


def converted(obj: object, folder: Path, *, zipped: bool) -> dict[str, torch.Tensor]:
    source, target = folder / "net.pth", folder / "net.safetensors"
    torch.save(obj, source, _use_new_zipfile_serialization=zipped)
    pickle_to_safetensors(source, target)
    return load_file(target)


def same(found: dict[str, torch.Tensor], truth: dict[str, torch.Tensor]) -> None:
    assert found.keys() == truth.keys()
    for name, tensor in truth.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor.detach()), name


@CONTAINERS
@pytest.mark.parametrize(
    "dtype",
    "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split(),
)
def test_every_type_survives_to_the_bit(tmp_path, dtype, zipped):
    tensor = (torch.arange(-6, 6) * 3.7).reshape(3, 4).to(getattr(torch, dtype))
    same(converted({"a": tensor}, tmp_path, zipped=zipped), {"a": tensor})


@CONTAINERS
def test_views_shared_storages_scalars_and_emptiness(tmp_path, zipped):
    base = torch.arange(60.0).reshape(6, 10)
    truth = {
        "base": base,
        "turned": base.t(),
        "cut": base[2:5, 1:9:3],
        "row": base[3],
        "spread": torch.tensor([7.0]).expand(4, 1),
        "number": torch.tensor(3.5),
        "nothing": torch.empty(0, 3),
        "parameter": nn.Parameter(torch.randn(3)),
        "frozen": nn.Parameter(torch.randn(2), requires_grad=False),
    }
    same(converted(OrderedDict(truth), tmp_path, zipped=zipped), truth)


@CONTAINERS
def test_a_state_dict_of_modules(tmp_path, zipped):
    torch.manual_seed(0)
    state = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.MultiheadAttention(4, 2)).state_dict()
    same(converted(state, tmp_path, zipped=zipped), state)


@CONTAINERS
def test_nested_dictionaries_are_flattened_and_the_rest_left_out(tmp_path, zipped):
    weight = torch.randn(2, 2)
    checkpoint = {"params_ema": OrderedDict(w=weight), "step": 12, "note": "x", "rates": [1e-3, (1, 2)], "best": None}
    same(converted(checkpoint, tmp_path, zipped=zipped), {"params_ema.w": weight})


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_all_protocols(tmp_path, protocol):
    weight = torch.randn(3)
    torch.save({"w": weight}, tmp_path / "net.pth", pickle_protocol=protocol)
    pickle_to_safetensors(tmp_path / "net.pth", tmp_path / "net.safetensors")
    same(load_file(tmp_path / "net.safetensors"), {"w": weight})


def test_conversion_gives_the_same_bytes_every_time(tmp_path):
    state = {"b": torch.ones(3), "a": torch.zeros(2, dtype=torch.int64)}
    torch.save(state, tmp_path / "net.pth")
    for name in ("one", "two"):
        pickle_to_safetensors(tmp_path / "net.pth", tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_transformers_reads_what_was_converted(tmp_path):
    """Its loader wants the header to say which framework wrote the file."""
    torch.save({"w": torch.ones(2)}, tmp_path / "net.pth")
    pickle_to_safetensors(tmp_path / "net.pth", tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", "pt") as handle:
        assert handle.metadata() == {"format": "pt"}


# ---------------------------------------------------------------- malice
class Shell:
    def __reduce__(self):
        return os.system, ("touch owned",)


class Evaluate:
    def __reduce__(self):
        return eval, ("open('owned', 'w')",)


class Nested:
    def __reduce__(self):
        return OrderedDict, ([("w", Shell())],)


class Build:
    def __reduce__(self):
        return OrderedDict, (), {"x": Shell()}


def archive(path: Path, program: bytes, **storages: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("net/data.pkl", program)
        for key, data in storages.items():
            out.writestr(f"net/data/{key.removeprefix('s')}", data)
    return path


@pytest.mark.parametrize("evil", [Shell(), Evaluate(), Nested(), Build(), {"w": Shell()}, [Evaluate()]])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_programs_are_refused_and_not_run(tmp_path, monkeypatch, evil, protocol):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="Nothing of it was executed"):
        read_tensors(archive(tmp_path / "evil.pth", pickle.dumps(evil, protocol)))
    (tmp_path / "stream.pth").write_bytes(pickle.dumps(evil, protocol))
    with pytest.raises(InputError):
        read_tensors(tmp_path / "stream.pth")
    assert not (tmp_path / "owned").exists()
    pickle.loads(pickle.dumps(Shell()))
    assert (tmp_path / "owned").exists(), "the same program works where it is run"


@CONTAINERS
def test_programs_inside_real_torch_files_are_refused(tmp_path, zipped):
    torch.save({"w": torch.ones(2), "x": Shell()}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match="system"):
        read_tensors(tmp_path / "a.pth")


def test_whole_modules_are_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "a.pth")
    with pytest.raises(InputError, match="Linear"):
        read_tensors(tmp_path / "a.pth")


def test_numpy_objects_are_refused(tmp_path):
    torch.save({"w": torch.ones(2), "n": np.float64(1.0)}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="numpy"):
        read_tensors(tmp_path / "a.pth")


def program(persistent: tuple[object, ...], offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """A pickle of ``{"w": tensor}`` as torch writes it, with numbers of our choice."""

    class Storage:
        pass

    class Tensor:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, shape, stride, False, OrderedDict())

    class Writer(pickle.Pickler):
        def persistent_id(self, obj):
            return persistent if isinstance(obj, Storage) else None

    out = io.BytesIO()
    Writer(out, 2).dump({"w": Tensor()})
    return out.getvalue()


GOOD = ("storage", torch.FloatStorage, "0", "cpu", 4)
FOUR = struct.pack("<4f", 1, 2, 3, 4)


def test_the_forger_can_also_write_good_files(tmp_path):
    tensors = read_tensors(archive(tmp_path / "a.pth", program(GOOD, 1, (3,), (1,)), s0=FOUR))
    assert tensors["w"].bits.view("<f4").tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("persistent", "offset", "shape", "stride", "data"),
    [
        (GOOD, 2, (3,), (1,), FOUR),
        (GOOD, 0, (2,), (4,), FOUR),
        (GOOD, -1, (2,), (1,), FOUR),
        (GOOD, 0, (2,), (-1,), FOUR),
        (GOOD, 0, (2, 2), (2,), FOUR),
        (GOOD, 0, (True,), (1,), FOUR),
        (GOOD, 0, (4,), (1,), FOUR[:-1]),
        (GOOD, 0, (1 << 40,), (0,), FOUR),
        (GOOD, 0, (1, 2), (1 << 70, 1), FOUR),
        (GOOD, 0, (1 << 70, 0), (1, 1), FOUR),
        (GOOD, 0, (1 << 39, 1 << 39, 0), (1, 1, 1), FOUR),
        (GOOD, 0, (1,) * 65, (1,) * 65, FOUR),
        (("storage", torch.FloatStorage, "0", "cpu", 1 << 50), 0, (1 << 49,), (1,), FOUR),
        (("storage", torch.FloatStorage, "../0", "cpu", 4), 0, (4,), (1,), FOUR),
        (("storage", torch.FloatStorage, "7", "cpu", 4), 0, (4,), (1,), FOUR),
        (("module", "x", "0", "cpu", 4), 0, (4,), (1,), FOUR),
        (("storage", torch.Size, "0", "cpu", 4), 0, (4,), (1,), FOUR),
        (("storage", torch.FloatStorage, "0", "cpu", 4, ("0", 0, 4)), 0, (4,), (1,), FOUR),
    ],
)
def test_tensors_beyond_their_numbers_are_refused(tmp_path, persistent, offset, shape, stride, data):
    with pytest.raises(InputError):
        read_tensors(archive(tmp_path / "a.pth", program(persistent, offset, shape, stride), s0=data))


def test_keys_that_cannot_be_hashed_in_time_are_refused(tmp_path):
    """To hash a tuple of a tuple of a tuple ... takes the stack of the process, or for ever where each holds two."""
    twice = b")" + b"q\x00h\x00\x86" * 64
    deep = b")" + b"\x85" * 100_000
    for key in (twice, deep, b"X\x00\x10\x00\x00" + b"a" * 4096):
        for dictionary in (b"}(" + key + b"K\x01u.", b"ccollections\nOrderedDict\n](" + key + b"K\x01\x86e\x85R."):
            with pytest.raises(InputError, match="keys are no names"):
                read_tensors(archive(tmp_path / "a.pth", b"\x80\x02" + dictionary))
    with pytest.raises(InputError, match="a name that is no text"):
        read_tensors(archive(tmp_path / "a.pth", b"\x80\x04" + deep + b"X\x01\x00\x00\x00a\x93."))


def test_dictionaries_that_hold_themselves_are_refused(tmp_path):
    knot: dict[str, object] = {}
    knot["a"] = knot
    with pytest.raises(InputError, match="nests"):
        read_tensors(archive(tmp_path / "a.pth", pickle.dumps(knot, 2)))


def test_compressed_entries_and_other_archives_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("net/data.pkl", pickle.dumps({}))
    with pytest.raises(InputError, match="compressed"):
        read_tensors(tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "b.pth", "w") as out:
        out.writestr("hello.txt", "x")
    with pytest.raises(InputError, match=r"data\.pkl"):
        read_tensors(tmp_path / "b.pth")


@CONTAINERS
@pytest.mark.parametrize("keep", [0.02, 0.3, 0.7, 0.99])
def test_truncated_files_are_refused(tmp_path, zipped, keep):
    torch.save({"w": torch.randn(500)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    data = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InputError):
        read_tensors(tmp_path / "a.pth")


def test_random_bytes_never_do_anything_but_fail(tmp_path):
    rng = np.random.default_rng(0)
    torch.save({"w": torch.randn(8)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    good = (tmp_path / "a.pth").read_bytes()
    for _ in range(300):
        data = bytearray(good)
        for place in rng.integers(0, len(data), 4):
            data[place] = rng.integers(256)
        (tmp_path / "b.pth").write_bytes(bytes(data))
        try:
            read_tensors(tmp_path / "b.pth")
        except InputError:
            pass


def test_other_files_are_refused(tmp_path):
    for content in (b"", b"hello", b"PK\x03\x04" + b"x" * 100, pickle.dumps(1), pickle.dumps({"a": 1})):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(InputError):
            read_tensors(tmp_path / "a")
    with pytest.raises(InputError):
        read_tensors(tmp_path / "missing")
