"""Steps are reused, continued and repeated exactly when they should be."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gswap.foundation.errors import BusyError, InputError, StorageError, UsageError
from gswap.foundation.store import write_bytes
from gswap.pipeline.config import Job
from gswap.pipeline.fault import FaultPlan
from gswap.pipeline.observer import StepObserver
from gswap.pipeline.runner import Step, plan, run
from gswap.pipeline.workspace import MARKER, Workspace, is_workspace, states

RUNS: list[str] = []


def make_step(name, needs, config):
    def work(context):
        RUNS.append(name)
        for i in range(3):
            write_bytes(context.folder / f"{i}", f"{name}{i}{config(context.job)}".encode())
            context.progress(i + 1, 3)
        context.notes["needs"] = sorted(context.folders)

    return Step(name, 1, needs, config, work)


STEPS = (
    make_step("first", (), lambda job: job.seed),
    make_step("second", ("first",), lambda job: job.mouth),
    make_step("third", ("first",), lambda job: None),
)


@pytest.fixture
def job(tmp_path):
    RUNS.clear()
    none = Path("none")
    return Job((none,), none, none, none, tmp_path / "work")


def do(job):
    RUNS.clear()
    with Workspace(job.work) as workspace:
        return run(job, STEPS, workspace, StepObserver())


def test_a_finished_step_is_not_repeated(job):
    folders = do(job)
    assert RUNS == ["first", "second", "third"]
    assert (folders["second"] / "2").read_bytes() == b"second2target"
    again = do(job)
    assert RUNS == [] and again == folders


def test_a_changed_option_repeats_only_what_depends_on_it(job):
    do(job)
    do(dataclasses.replace(job, mouth="source"))
    assert RUNS == ["second"]
    do(dataclasses.replace(job, seed=1))
    assert RUNS == ["first", "second", "third"]
    do(job)
    assert RUNS == []


def test_a_new_version_of_a_step_repeats_it_and_its_dependents(job):
    newer = (dataclasses.replace(STEPS[0], version=2), *STEPS[1:])
    assert all(plan(job, STEPS)[n] != plan(job, newer)[n] for n in ("first", "second", "third"))


def test_a_full_disk_is_named_and_the_job_continues(job, monkeypatch):
    monkeypatch.setenv("GSWAP_FAULT", "second:2:enospc")
    with pytest.raises(StorageError, match="disk is full"):
        do(job)
    monkeypatch.delenv("GSWAP_FAULT")
    do(job)
    assert RUNS == ["second", "third"]


def test_an_interrupt_leaves_a_workspace_that_continues(job, monkeypatch):
    monkeypatch.setenv("GSWAP_FAULT", "third:1:interrupt")
    # Whoever runs the tests in the background may have told them to ignore interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            do(job)
    finally:
        signal.signal(signal.SIGINT, before)
    monkeypatch.delenv("GSWAP_FAULT")
    do(job)
    assert RUNS == ["third"]


def test_other_errors_are_not_dressed_up(job):
    def work(context):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    with Workspace(job.work) as workspace, pytest.raises(FileNotFoundError):
        run(job, (Step("broken", 1, (), lambda job: None, work),), workspace, StepObserver())


def test_a_busy_workspace_says_who_holds_it(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom gswap.pipeline.workspace import Workspace\n"
        "with Workspace(Path(sys.argv[1])):\n    print('in', flush=True)\n    time.sleep(60)\n"
    )
    root = tmp_path / "work"
    other = subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "in\n"
        with pytest.raises(BusyError, match=f"process {other.pid}"):
            Workspace(root).__enter__()
    finally:
        other.kill()
        other.wait()
        if other.stdout:
            other.stdout.close()
    with Workspace(root):
        assert is_workspace(root)


def test_a_folder_with_other_files_is_not_taken(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(InputError, match=r"precious\.txt"):
        Workspace(tmp_path).__enter__()
    assert not (tmp_path / MARKER).exists()


def test_status_lists_steps_in_order(job):
    do(job)
    (job.work / "third" / "unfinished").mkdir()
    found = states(job.work, ("first", "second", "third"))
    assert [s.step for s in found] == ["first", "second", "third", "third"]
    assert [s.done for s in found].count(False) == 1
    assert all(s.bytes > 0 for s in found if s.done)
    with pytest.raises(InputError):
        states(job.work / "first", ("first",))


def test_fault_plans_are_checked():
    with pytest.raises(UsageError):
        FaultPlan("nonsense")
    FaultPlan(None).strike("any")
    plan_ = FaultPlan("a:2:enospc")
    plan_.strike("b")
    plan_.strike("a")
    with pytest.raises(OSError):
        plan_.strike("a")


def test_a_refused_job_leaves_no_workspace_behind(tmp_path):
    with pytest.raises(InputError), Workspace(tmp_path / "work"):
        raise InputError("no face")
    assert not (tmp_path / "work").exists()


def test_a_workspace_with_finished_steps_stays(job):
    do(job)
    with pytest.raises(InputError), Workspace(job.work):
        raise InputError("no face")
    assert is_workspace(job.work)
