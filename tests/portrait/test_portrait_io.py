from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gswap.foundation.errors import InputError
from gswap.foundation.store import read_arrays, write_arrays
from gswap.portrait.drive import render_portrait
from gswap.portrait.io import load_portrait, portrait_meta, save_portrait


def test_a_portrait_comes_back_from_its_file(scene, fitted, rasterize, tmp_path):
    path = tmp_path / "person.gswap"
    save_portrait(path, fitted[0])
    loaded = load_portrait(path, scene.model)
    assert portrait_meta(loaded) == portrait_meta(fitted[0])
    for (name, a), (_, b) in zip(
        fitted[0].network.state_dict().items(), loaded.network.state_dict().items(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)
    pictures = [
        next(render_portrait(p, scene.target, scene.swap, scene.track, scene.model, rasterize=rasterize))[1].rgb
        for p in (fitted[0], loaded)
    ]
    np.testing.assert_array_equal(*pictures)


def test_writing_twice_gives_the_same_bytes(scene, fitted, tmp_path):
    more_memory = replace(fitted[0], cfg=replace(fitted[0].cfg, cache_megabytes=500))
    for name, portrait in (("a", fitted[0]), ("b", fitted[0]), ("c", more_memory)):
        save_portrait(tmp_path / name, portrait)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


def test_other_files_are_refused(scene, fitted, tmp_path):
    write_arrays(tmp_path / "track", {"x": np.zeros(3)}, {"kind": "track"})
    with pytest.raises(InputError, match="Expected a portrait, found 'track'"):
        load_portrait(tmp_path / "track", scene.model)
    save_portrait(tmp_path / "p", fitted[0])
    arrays, meta = read_arrays(tmp_path / "p")
    write_arrays(tmp_path / "body", arrays, {**meta, "body": "smplx"})
    with pytest.raises(InputError, match="fitted with the body model 'smplx'"):
        load_portrait(tmp_path / "body", scene.model)
    write_arrays(tmp_path / "old", arrays, {**meta, "config": {"nonsense": 1}})
    with pytest.raises(InputError, match="does not match this version"):
        load_portrait(tmp_path / "old", scene.model)
    for missing in ("track", "body"):
        write_arrays(tmp_path / "part", arrays, {k: v for k, v in meta.items() if k != missing})
        with pytest.raises(InputError, match="does not match this version"):
            load_portrait(tmp_path / "part", scene.model)
    del arrays["binding.face"]
    write_arrays(tmp_path / "cut", arrays, meta)
    with pytest.raises(InputError, match="does not match this version"):
        load_portrait(tmp_path / "cut", scene.model)
