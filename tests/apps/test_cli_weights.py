"""``gswap weights``: what it says, to people and to machines, and its exit codes."""

from __future__ import annotations

import hashlib
import json

import pytest
from hub import Hub, serving

from gswap.apps.cli.main import run
from gswap.foundation.weights import catalogue

CONTENT = b"a network" * 1000
PATH = "/maker/net/resolve/main/net.onnx"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setenv("GSWAP_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.delenv("GSWAP_OFFLINE", raising=False)
    file = catalogue.WeightFile("net.onnx", "maker/net:net.onnx")
    spec = catalogue.WeightSpec("net", "A net", "parser", (file,), "research only", False, "https://example.org")
    monkeypatch.setitem(catalogue.CATALOGUE, "net", spec)
    with serving(Hub(files={PATH: CONTENT})) as found:
        monkeypatch.setenv("GSWAP_HUB", found.base)
        yield found


def records(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_list_says_what_is_here_and_who_pins(hub, capsys):
    assert run(["weights", "list", "--json"]) == 0
    before = {r["name"]: r for r in records(capsys)}
    assert before["net"]["state"] == "missing" and before["net"]["files"][0]["pinned_by"] == "nobody yet"
    assert before["lama"]["files"][0]["pinned_by"] == "catalogue" and len(before["lama"]["files"][0]["sha256"]) == 64
    assert run(["weights", "pull", "net"]) == 0
    assert "research only" in capsys.readouterr().out
    assert run(["weights", "list"]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("net "))
    assert "present" in line and "not commercial" in line
    assert run(["weights", "list", "--json", "--commercial-only"]) == 0
    assert "net" not in {r["name"] for r in records(capsys)}


def test_pull_tells_machines_what_it_does(hub, capsys):
    assert run(["weights", "pull", "net", "--json"]) == 0
    events = records(capsys)
    assert events[0]["event"] == "step" and events[-1]["event"] == "pulled"
    assert any(e["event"] == "progress" and e["done"] == len(CONTENT) for e in events)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["pull"], 2, "names of parts"),
        (["pull", "nothing"], 2, "nothing"),
        (["pull", "net", "--offline"], 78, "switched off"),
        (["pull", "net", "--commercial-only"], 78, "may not be used commercially"),
        (["pull", "--recipe", "paper", "--commercial-only"], 78, "arc2face may not be used commercially"),
        (["pull", "lama", "--recipe", "paper", "--offline"], 78, "lama"),
        (["pull", "smplx"], 78, "gswap weights import smplx"),
        (["import", "net", "/nonexistent"], 66, "net.onnx"),
    ],
)
def test_refusals_are_one_sentence_and_a_code(hub, capsys, arguments, code, words):
    assert run(["weights", *arguments]) == code
    assert words in capsys.readouterr().err.replace("\n", " ")
    assert hub.requests == []


def test_the_embedded_recipe_needs_nothing(hub, capsys):
    assert run(["weights", "pull", "--recipe", "embedded"]) == 0 and hub.requests == []


def test_verify_finds_a_harmed_file(hub, capsys, tmp_path):
    assert run(["weights", "verify"]) == 0 and not capsys.readouterr().out
    assert run(["weights", "verify", "net"]) == 78
    assert run(["weights", "pull", "net"]) == 0
    assert run(["weights", "verify", "net"]) == 0
    (tmp_path / "weights" / "net" / "net.onnx").write_bytes(CONTENT[:-1] + b"!")
    capsys.readouterr()
    assert run(["weights", "verify"]) == 78
    assert "wrong" in capsys.readouterr().out


def test_import_names_the_hash_and_the_licence(hub, capsys, tmp_path):
    (tmp_path / "mine.onnx").write_bytes(CONTENT)
    assert run(["weights", "import", "net", str(tmp_path / "mine.onnx")]) == 0
    out = capsys.readouterr().out
    assert hashlib.sha256(CONTENT).hexdigest() in out and "research only" in out


def test_licenses_lists_every_part(hub, capsys):
    assert run(["weights", "licenses", "--json"]) == 0
    found = records(capsys)
    assert {r["part"] for r in found} == set(catalogue.CATALOGUE)
    assert all(r["licence"] and r["origin"] for r in found)
