"""The command line: fast help, one clear sentence and the documented code for everything that is wrong."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys

import pytest

from gswap.apps.cli.main import run

HEAVY = ("torch", "mediapipe", "scipy", "cv2")


def in_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_and_help_load_no_torch():
    assert in_new_process("import sys, gswap; print('torch' in sys.modules)") == "False"
    code = (
        "import sys\nfrom gswap.apps.cli.main import run\n"
        "try: run(['swap', '--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'mediapipe', 'av') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [
        "swap",
        "demo",
        "check",
        "track",
        "orbit",
        "consent",
        "keys",
        "verify",
        "status",
        "purge",
        "doctor",
        "bench",
        "weights",
    ],
)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        run([command, "--help"])
    assert stop.value.code == 0
    assert command in capsys.readouterr().out


def test_a_usage_error_is_two(capsys):
    with pytest.raises(SystemExit) as stop:
        run(["swap", "--source", "a"])
    assert stop.value.code == 2


def test_missing_files_and_json_errors(tmp_path, capsys):
    arguments = ["swap", "--source", str(tmp_path), "--target", str(tmp_path / "no.mp4"), "-o", str(tmp_path / "o.mp4")]
    assert run([*arguments, "--consent", str(tmp_path / "c.toml")]) == 66
    assert "does not exist" in capsys.readouterr().err
    assert run([*arguments, "--consent", str(tmp_path / "c.toml"), "--json"]) == 66
    record = json.loads(capsys.readouterr().err)
    assert record["code"] == 66 and record["input"].endswith("no.mp4")


def test_status_and_purge_touch_workspaces_only(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("x")
    assert run(["status", str(tmp_path)]) == 65
    assert run(["purge", str(tmp_path)]) == 2
    assert (tmp_path / "mine.txt").exists()


def test_consent_is_written_checked_and_never_replaced(tmp_path, capsys):
    path = tmp_path / "consent.toml"
    assert run(["consent", "new", "-o", str(path), "--kind", "evaluation"]) == 0
    assert run(["consent", "new", "-o", str(path), "--kind", "evaluation"]) == 73
    assert run(["consent", "check", str(path)]) == 0
    assert str(dt.date.today().year + 1) in capsys.readouterr().out or dt.date.today().month == 1
    assert run(["consent", "new", "-o", str(tmp_path / "b.toml")]) == 78
    assert "no name for the source person" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["consent", "new", "-o", "c.toml", "--kind", "synthetic", "--days", "999999999"], 2, "--days"),
        (["demo", "--frames", "0"], 2, "at least one frame"),
        (["demo", "--size", "101"], 2, "even size"),
        (["orbit", "work", "-o", "o.txt"], 73, "o.txt"),
        (["orbit", "work", "-o", "nowhere/o.mp4"], 73, "nowhere: The folder of the output"),
        (["orbit", "work", "-o", "o.mp4", "--yaw", "nan"], 2, "--yaw"),
    ],
)
def test_options_that_cannot_be_are_no_internal_errors(arguments, code, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == code
    error = capsys.readouterr().err
    assert named in error and ".part" not in error and not list(tmp_path.iterdir())


def test_paths_that_the_terminal_cannot_show_are_no_failure(tmp_path):
    command = [sys.executable, "-m", "gswap.apps.cli.main", "consent", "new", "--kind", "synthetic", "-o", "動画.toml"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 0 and rb"\u52d5\u753b.toml" in done.stdout


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--group", "beard"], "--groups"),
        (["--variant", "ours"], "--ablations"),
        (["--synthetic"], "--ablations"),
        (["--full"], "--extremes"),
        (["--tally", "answers.json"], "--study"),
        (["--baseline", "clone", "--speed"], "--baseline"),
        (["--pairs", "pairs", "--truth", "truth.mp4"], "found both"),
        ([], "--pairs"),
    ],
)
def test_evaluate_refuses_options_that_would_do_nothing(options, named, capsys):
    assert run(["evaluate", *options]) == 2
    assert named in capsys.readouterr().err
