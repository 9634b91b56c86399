"""The command line: fast help, one clear sentence and the documented code for everything that is wrong."""

from __future__ import annotations

import datetime as dt
import json
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
