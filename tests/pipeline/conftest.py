"""One small synthetic job, made once and shared by the tests that look at its results."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from gswap.output import consent
from gswap.people.clips import DemoConfig, DemoInputs, demo_inputs
from gswap.pipeline.config import Job, Settings
from gswap.pipeline.job import SwapResult, run_job

SMALL = DemoConfig(size=192, frames=14, photos=3, photo_size=256)


@dataclass(frozen=True)
class Small:
    """The inputs of the small job."""

    inputs: DemoInputs
    consent: Path

    def job(self, folder: Path, **changes) -> Job:
        settings = Settings()
        fit = dataclasses.replace(settings.fit, coarse_steps=60, fine_steps=20)
        values = {
            "sources": (self.inputs.source,),
            "target": self.inputs.target,
            "out": folder / "out.mkv",
            "consent": self.consent,
            "work": folder / "work",
            "label": "off",
            "watermark": False,
            "settings": dataclasses.replace(settings, fit=fit),
        }
        return Job(**(values | changes))


@pytest.fixture(scope="session", autouse=True)
def own_keys(tmp_path_factory):
    """Keys of the tests, not of the user."""
    before = os.environ.get("GSWAP_CONFIG_DIR")
    os.environ["GSWAP_CONFIG_DIR"] = str(tmp_path_factory.mktemp("keys"))
    yield
    if before is None:
        del os.environ["GSWAP_CONFIG_DIR"]
    else:
        os.environ["GSWAP_CONFIG_DIR"] = before


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Small:
    folder = tmp_path_factory.mktemp("inputs")
    inputs = demo_inputs(folder, SMALL)
    people = (consent.Person("A", "source", "a@example.org"), consent.Person("B", "target", "b@example.org"))
    record = consent.new_record(
        "consent",
        people=people,
        scope=consent.Scope("test", ("test",), ("everywhere",)),
        validity=consent.Validity.one_year(dt.date.today()),
        allow=consent.Allowances(label_off=True, watermark_off=True),
    )
    path = folder / "consent.toml"
    consent.save(record, path)
    return Small(inputs, path)


@pytest.fixture(scope="session")
def finished(small, tmp_path_factory) -> tuple[Job, SwapResult]:
    """The small job, run to its end without marks, losslessly."""
    job = small.job(tmp_path_factory.mktemp("job"))
    return job, run_job(job)
