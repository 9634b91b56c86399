"""Weights from a server that cuts, lies, stalls and changes its mind; and files that are not what they should be."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock
from hub import Hub, serving

from gswap.foundation import weights
from gswap.foundation.errors import BusyError, MissingInputError, StorageError, UsageError, WeightsError
from gswap.foundation.weights import catalogue, convert
from gswap.foundation.weights.pull import Network, _Redirects

CONTENT = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FAST = Network(attempts=4, timeout=5.0, pause=0.0)
PATH = "/maker/net/resolve/main/net.onnx"


def part(sha256: str | None = None, size: int | None = None, **changes: object) -> catalogue.WeightSpec:
    file = catalogue.WeightFile("net.onnx", "maker/net:net.onnx", sha256, size)
    spec = catalogue.WeightSpec("net", "A net", "parser", (file,), "CC0", True, "https://example.org/net")
    return dataclasses.replace(spec, **changes)  # type: ignore[arg-type]


@pytest.fixture
def catalogued(monkeypatch, tmp_path):
    """Put a part into the catalogue and the folder of weights under ``tmp_path``."""
    monkeypatch.setenv("GSWAP_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.delenv("GSWAP_OFFLINE", raising=False)

    def add(spec: catalogue.WeightSpec) -> catalogue.WeightSpec:
        monkeypatch.setitem(catalogue.CATALOGUE, spec.name, spec)
        return spec

    return add


@pytest.fixture
def hub(monkeypatch):
    with serving(Hub(files={PATH: CONTENT})) as found:
        monkeypatch.setenv("GSWAP_HUB", found.base)
        monkeypatch.setenv("GSWAP_RELEASES", found.base)
        yield found


def folder() -> Path:
    return weights.root() / "net"


def leftovers() -> list[str]:
    return sorted(p.name for p in folder().iterdir() if p.name != "net.onnx")


# ---------------------------------------------------------------- transfers
def test_a_pulled_part_is_verified_and_pinned(catalogued, hub):
    catalogued(part())
    seen = []
    where = weights.pull("net", network=FAST, progress=lambda done, total, note="": seen.append((done, total, note)))
    assert (where / "net.onnx").read_bytes() == CONTENT and where == weights.path("net")
    assert leftovers() == []
    assert seen[-1] == (len(CONTENT), len(CONTENT), "net.onnx")
    pins = json.loads((weights.root() / "pins.json").read_text())
    assert pins["net"]["net.onnx"]["sha256"] == DIGEST and pins["net"]["net.onnx"]["source"].endswith(PATH)
    weights.pull("net", network=FAST)
    assert len(hub.requests) == 1, "what is there is not fetched again"


def test_a_cut_connection_is_continued_by_range(catalogued, hub):
    catalogued(part(DIGEST, len(CONTENT)))
    hub.cut_after = [100_000, 0, 50_000]
    assert (weights.pull("net", network=FAST) / "net.onnx").read_bytes() == CONTENT
    assert [r for _, r in hub.requests] == [None, "bytes=100000-", "bytes=100000-", "bytes=150000-"]


def test_a_killed_pull_is_continued_by_the_next(catalogued, hub):
    catalogued(part())
    hub.cut_after = [70_000, 0]
    with pytest.raises(WeightsError, match="goes on where it stopped"):
        weights.pull("net", network=dataclasses.replace(FAST, attempts=1))
    assert ".net.onnx.download" in leftovers()
    weights.pull("net", network=FAST)
    assert hub.requests[-1][1] == "bytes=70000-"
    assert leftovers() == []


def test_a_file_that_changed_meanwhile_begins_anew(catalogued, hub):
    catalogued(part())
    hub.cut_after = [70_000, 0]
    with pytest.raises(WeightsError):
        weights.pull("net", network=dataclasses.replace(FAST, attempts=1))
    hub.files[PATH] = OTHER
    assert (weights.pull("net", network=FAST) / "net.onnx").read_bytes() == OTHER


def test_a_server_without_ranges_is_asked_again(catalogued, hub):
    catalogued(part(DIGEST))
    hub.ranges = False
    hub.cut_after = [100_000]
    assert (weights.pull("net", network=FAST) / "net.onnx").read_bytes() == CONTENT


def test_a_too_long_partial_file_is_thrown_away(catalogued, hub):
    catalogued(part(DIGEST))
    folder().mkdir(parents=True)
    (folder() / ".net.onnx.download").write_bytes(CONTENT + b"more")
    assert (weights.pull("net", network=FAST) / "net.onnx").read_bytes() == CONTENT


def test_a_partial_file_of_unknown_origin_is_not_continued(catalogued, hub):
    catalogued(part())
    folder().mkdir(parents=True)
    (folder() / ".net.onnx.download").write_bytes(OTHER[:1000])
    assert (weights.pull("net", network=FAST) / "net.onnx").read_bytes() == CONTENT


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_passing_errors_are_tried_again(catalogued, hub, status):
    catalogued(part())
    hub.statuses = [status, status]
    weights.pull("net", network=FAST)
    assert len(hub.requests) == 3


@pytest.mark.parametrize(("status", "word"), [(404, "404"), (403, "account"), (401, "account")])
def test_a_refusal_is_final_and_says_what_to_do(catalogued, hub, status, word):
    catalogued(part())
    hub.statuses = [status]
    with pytest.raises(WeightsError, match=word) as caught:
        weights.pull("net", network=FAST)
    assert PATH in str(caught.value) and len(hub.requests) == 1


def test_a_silent_server_times_out(catalogued, hub):
    catalogued(part())
    hub.cut_after, hub.stall = [10_000] * 2, 1.0
    network = Network(attempts=1, timeout=0.2, pause=0.0)
    with pytest.raises(WeightsError, match="failed"):
        weights.pull("net", network=network)
    assert (folder() / ".net.onnx.download").stat().st_size == 10_000


def test_an_unreachable_server_is_an_error_of_one_sentence(catalogued, monkeypatch):
    catalogued(part())
    monkeypatch.setenv("GSWAP_HUB", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="failed 2 times"):
        weights.pull("net", network=dataclasses.replace(FAST, attempts=2))


def test_a_redirect_is_followed_and_its_announced_hash_believed(catalogued, hub):
    catalogued(part())
    hub.redirect_to, hub.announce = hub.base, True
    hub.cut_after = [123]
    assert (weights.pull("net", network=FAST) / "net.onnx").read_bytes() == CONTENT


def test_an_announced_hash_that_does_not_come_true_is_refused(catalogued, hub):
    catalogued(part())
    hub.redirect_to, hub.announce = hub.base, True

    class Lying(dict):
        calls = 0

        def get(self, key, default=None):
            Lying.calls += 1
            return CONTENT if Lying.calls == 1 else OTHER

    hub.files = Lying()
    with pytest.raises(WeightsError, match=DIGEST):
        weights.pull("net", network=FAST)


def test_an_encrypted_transfer_does_not_become_a_plain_one():
    request = urllib.request.Request("https://hub.example/net.onnx")
    with pytest.raises(WeightsError, match="not encrypted"):
        _Redirects().redirect_request(request, None, 302, "Found", {}, "http://cdn.example/net.onnx")  # type: ignore


def test_a_crawling_transfer_is_begun_again_where_it_stopped(catalogued, hub):
    catalogued(part(DIGEST))
    hub.drip = 1
    network = Network(attempts=1, timeout=0.3, pause=0.0, slowest=1e9)
    with pytest.raises(WeightsError, match="crawled"):
        weights.pull("net", network=network)
    kept = (folder() / ".net.onnx.download").stat().st_size
    hub.drip = 0
    weights.pull("net", network=FAST)
    assert hub.requests[-1][1] == f"bytes={kept}-"


# ---------------------------------------------------------------- what is not what it should be
def test_wrong_bytes_are_refused_with_both_hashes(catalogued, hub):
    catalogued(part(DIGEST))
    hub.files[PATH] = OTHER
    with pytest.raises(WeightsError) as caught:
        weights.pull("net", network=FAST)
    assert DIGEST in str(caught.value) and hashlib.sha256(OTHER).hexdigest() in str(caught.value)
    assert not (folder() / "net.onnx").exists() and leftovers() == []


def test_a_wrong_length_is_refused_before_the_transfer(catalogued, hub):
    catalogued(part(DIGEST, 12))
    with pytest.raises(WeightsError, match="Expected 12 bytes"):
        weights.pull("net", network=FAST)


def test_a_first_pull_pins_what_later_pulls_must_bring(catalogued, hub):
    catalogued(part())
    weights.pull("net", network=FAST)
    (folder() / "net.onnx").unlink()
    hub.files[PATH] = OTHER
    with pytest.raises(WeightsError, match=DIGEST):
        weights.pull("net", network=FAST)


@pytest.mark.parametrize("harm", ["tampered", "truncated", "swapped"])
def test_a_harmed_file_is_refused_before_any_work(catalogued, hub, harm):
    catalogued(part())
    file = weights.pull("net", network=FAST) / "net.onnx"
    harmed = {"tampered": b"x" + CONTENT[1:], "truncated": CONTENT[:-1], "swapped": OTHER}[harm]
    file.write_bytes(harmed)
    for use in (lambda: weights.path("net"), lambda: weights.require(["net"]), lambda: weights.file("net")):
        with pytest.raises(WeightsError) as caught:
            use()
        assert DIGEST in str(caught.value) and hashlib.sha256(harmed).hexdigest() in str(caught.value)
    assert [s.state for s in weights.states(verify=True) if s.spec.name == "net"] == ["wrong"]
    weights.pull("net", network=FAST)
    assert weights.file("net").read_bytes() == CONTENT, "a pull mends it"


def test_a_missing_part_is_one_sentence(catalogued, hub):
    catalogued(part())
    with pytest.raises(WeightsError) as caught:
        weights.path("net")
    assert str(caught.value) == (
        "The part net (A net) is not there: net.onnx is missing; its licence is CC0. Run: gswap weights pull net"
    )
    assert caught.value.exit_code == 78 and hub.requests == []
    with pytest.raises(WeightsError):
        weights.digest("net")


def test_offline_fetches_nothing(catalogued, hub, monkeypatch):
    catalogued(part())
    with pytest.raises(WeightsError, match="switched off"):
        weights.pull("net", network=dataclasses.replace(FAST, offline=True))
    monkeypatch.setenv("GSWAP_OFFLINE", "1")
    with pytest.raises(WeightsError, match="switched off"):
        weights.pull("net", network=FAST)
    assert hub.requests == []
    monkeypatch.delenv("GSWAP_OFFLINE")
    weights.pull("net", network=FAST)
    monkeypatch.setenv("GSWAP_OFFLINE", "1")
    assert weights.pull("net", network=FAST) == weights.path("net")


def test_commercial_only_refuses_before_anything_else(catalogued, hub):
    catalogued(part(commercial=False, licence="research only"))
    with pytest.raises(WeightsError, match="research only"):
        weights.pull("net", network=FAST, commercial_only=True)
    with pytest.raises(WeightsError, match="may not be used commercially"):
        weights.require(["lama", "net"], commercial_only=True)
    assert hub.requests == []


def test_two_writers_at_once_are_told_apart(catalogued, hub):
    catalogued(part())
    weights.root().mkdir(parents=True)
    with FileLock(str(weights.root() / ".lock")), pytest.raises(BusyError):
        weights.pull("net", network=FAST)


def test_a_full_disk_is_noticed_beforehand(catalogued, hub, monkeypatch):
    catalogued(part())
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1))
    with pytest.raises(StorageError, match="free space"):
        weights.pull("net", network=FAST)


def test_several_files_are_one_part(catalogued, hub):
    files = tuple(catalogue.WeightFile(p, f"maker/net:{p}") for p in ("unet/config.json", "unet/net.bin"))
    catalogued(part(files=files))
    hub.files = {"/maker/net/resolve/main/unet/config.json": b"{}", "/maker/net/resolve/main/unet/net.bin": CONTENT}
    where = weights.pull("net", network=FAST)
    assert (where / "unet/config.json").read_bytes() == b"{}" and (where / "unet/net.bin").read_bytes() == CONTENT
    assert weights.file("net", "unet/net.bin") == where / "unet/net.bin"
    with pytest.raises(UsageError, match="has the files"):
        weights.file("net")
    first = weights.digest("net")
    (where / "unet/config.json").unlink()
    with pytest.raises(WeightsError, match="config"):
        weights.path("net")
    assert weights.digest("net") == first, "a digest reads no weights"


def test_releases_outside_the_hub_have_a_mirror_too(catalogued, hub):
    catalogued(part(files=(catalogue.WeightFile("net.onnx", "host.example/v1/net.onnx"),)))
    hub.files = {"/host.example/v1/net.onnx": CONTENT}
    assert weights.pull("net", network=FAST) == weights.path("net")


# ---------------------------------------------------------------- imports
def test_an_import_takes_only_the_known_file(catalogued, tmp_path):
    catalogued(part(DIGEST))
    (tmp_path / "mine.onnx").write_bytes(OTHER)
    with pytest.raises(WeightsError, match=DIGEST):
        convert.import_part("net", tmp_path / "mine.onnx")
    (tmp_path / "mine.onnx").write_bytes(CONTENT)
    assert convert.import_part("net", tmp_path / "mine.onnx") == {"net.onnx": DIGEST}
    assert weights.file("net").read_bytes() == CONTENT
    assert (tmp_path / "mine.onnx").exists()


def test_an_import_can_be_given_the_hash(catalogued, tmp_path):
    catalogued(part())
    (tmp_path / "mine.onnx").write_bytes(CONTENT)
    with pytest.raises(WeightsError, match="0" * 64):
        convert.import_part("net", tmp_path / "mine.onnx", sha256="0" * 64)
    convert.import_part("net", tmp_path / "mine.onnx", sha256=DIGEST.upper())
    assert weights.path("net").is_dir()


def test_an_import_of_a_folder_finds_published_names(catalogued, tmp_path):
    files = (
        catalogue.WeightFile("a.json", "maker/net:deep/config.json"),
        catalogue.WeightFile("b.onnx", "host.example/v1/published.onnx"),
    )
    catalogued(part(files=files))
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep/config.json").write_bytes(b"{}")
    with pytest.raises(MissingInputError, match=r"b\.onnx"):
        convert.import_part("net", source)
    (source / "published.onnx").write_bytes(CONTENT)
    convert.import_part("net", source)
    assert weights.file("net", "b.onnx").read_bytes() == CONTENT
    with pytest.raises(MissingInputError, match="several files"):
        convert.import_part("net", source / "published.onnx")


def test_one_of_several_files_stands_for_its_folder(catalogued, tmp_path):
    """SMPL-X: the model and the landmark map beside it."""
    files = (catalogue.WeightFile("net.onnx", ""), catalogue.WeightFile("net.map.npz", ""))
    catalogued(part(files=files, note="A script makes the map."))
    (tmp_path / "net.onnx").write_bytes(CONTENT)
    with pytest.raises(MissingInputError, match=r"net\.map\.npz of net, found none\. A script makes the map\."):
        convert.import_part("net", tmp_path / "net.onnx")
    (tmp_path / "net.map.npz").write_bytes(OTHER)
    with pytest.raises(UsageError, match="one hash is not enough"):
        convert.import_part("net", tmp_path / "net.onnx", sha256=DIGEST)
    convert.import_part("net", tmp_path / "net.onnx")
    assert weights.file("net", "net.map.npz").read_bytes() == OTHER


def test_files_of_one_name_are_not_mixed_up(catalogued, tmp_path):
    files = tuple(catalogue.WeightFile(f"{p}/config.json", f"maker/net:{p}/config.json") for p in ("unet", "vae"))
    catalogued(part(files=files))
    (tmp_path / "source").mkdir()
    (tmp_path / "source/config.json").write_bytes(b"{}")
    with pytest.raises(MissingInputError, match="unet"):
        convert.import_part("net", tmp_path / "source")


def test_what_only_its_holder_may_supply_is_not_pulled(catalogued):
    catalogued(part(files=(catalogue.WeightFile("net.onnx", ""),)))
    with pytest.raises(WeightsError, match="gswap weights import net"):
        weights.pull("net", network=FAST)


# ---------------------------------------------------------------- the catalogue
def test_the_catalogue_is_well_formed():
    for name, spec in catalogue.CATALOGUE.items():
        assert spec.name == name and spec.licence and spec.origin and spec.files
        paths = [f.path for f in spec.files]
        assert len(set(paths)) == len(paths)
        for file in spec.files:
            assert not file.path.startswith("/") and ".." not in file.path.split("/")
            assert file.path.endswith((".json", ".txt", ".safetensors", ".onnx", ".pt", ".npz"))
            assert file.sha256 is None or (len(file.sha256) == 64 and set(file.sha256) <= set("0123456789abcdef"))
            assert (file.convert == "pickle") <= file.path.endswith(".safetensors")
            assert not file.url or file.url.startswith("https://")
    with pytest.raises(UsageError, match="nothing"):
        weights.spec("nothing")
