"""The deliver step's marks, without the work before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gswap.foundation.errors import UsageError
from gswap.media.write import rgb_video_info
from gswap.output.config import LabelPosition
from gswap.pipeline.config import Job
from gswap.pipeline.steps import deliver

INFO = rgb_video_info(Path("out.mp4"), (640, 360), (25, 1), 10)


def job(**options: object) -> Job:
    nowhere = Path("nowhere")
    values: dict[str, object] = {"out": Path("out.mp4"), "target": nowhere, "consent": nowhere, "work": nowhere}
    return Job(sources=(nowhere,), **(values | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("position", ["top-right", "top-left", "bottom-right", "bottom-left"])
def test_the_label_is_where_and_as_large_as_the_job_says(position: LabelPosition) -> None:
    usual = deliver.make_label(job(), INFO).box
    x, y, width, height = deliver.make_label(job(label_position=position, label_size=0.08), INFO).box
    assert (x > 100) == position.endswith("right") and (y > 180) == position.startswith("bottom")
    assert width > usual[2] and height > usual[3]


def test_at_the_start_it_ends() -> None:
    label = deliver.make_label(job(label="start"), INFO)
    assert label.shown_at(0) and not label.shown_at(deliver.START_SECONDS)
    assert deliver.make_label(job(), INFO).shown_at(1e6)


def test_a_size_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"expected 0\.03 to 0\.2"):
        deliver.make_label(job(label_size=0.5), INFO)


@pytest.mark.parametrize("change", [{"label_position": "top-left"}, {"label_size": 0.1}, {"label": "start"}])
def test_other_marks_are_another_delivery(change: dict[str, object]) -> None:
    assert deliver.STEP.config(job(**change)) != deliver.STEP.config(job())
