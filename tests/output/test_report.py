from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path

import numpy as np
import pytest

from gswap.foundation.errors import MissingInputError, UsageError
from gswap.foundation.types import JobNotes, Shot, StepTiming
from gswap.output import report
from gswap.output.purge import MARKER_NAME, purge
from gswap.output.report import Picture, ReportData, Series


@pytest.fixture
def data() -> ReportData:
    rng = np.random.default_rng(0)
    identity = rng.uniform(0.7, 0.9, 5000)
    identity[10:20], identity[1234] = np.nan, 0.1
    picture = rng.integers(0, 255, (40, 60, 3)).astype(np.uint8)
    return ReportData(
        title="<clip> & photos",
        facts={"frames": "5000"},
        series=[Series("identity", identity), Series("never", np.full(3, np.nan)), Series("flat", np.ones(2), "px")],
        worst=[Picture("frame 1234 <script>", picture)],
        contact_sheet=picture,
        mesh=Picture("mesh & offsets", picture),
        timings=[StepTiming("ingest", 1.0, 2.0, 100.0), StepTiming("fit", 3.0, 4.0, 500.0, reused=True)],
        versions={"gswap": "0.1"},
        hashes={"out.mp4": "ab"},
        notes=JobNotes(("frame 3 is blurred",), ("add a photo",)),
        untouched=[Shot(0, 4), Shot(9, 10)],
    )


class Page(html.parser.HTMLParser):
    """Collects tags and text, and checks that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_self_contained_well_formed_and_escaped(tmp_path: Path, data: ReportData) -> None:
    path, _ = report.write_report(tmp_path / "report", data)
    text = path.read_text()
    page = Page(text)
    assert not page.open
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links) and len(page.links) == 3
    assert "script" not in page.tags and not re.search("https?:", text)
    assert page.tags.count("svg") == 2, "a series without a finite value has no plot"
    for words in ("<clip> & photos", "frame 1234 <script>", "0-3, 9", "worst 0.1 at frame 1234", "reused", "4.0 s"):
        assert words in page.text


def test_thinning_keeps_the_outlier_and_the_gap(data: ReportData) -> None:
    svg = report.page.line_plot(data.series[0].values, mark=1234)
    numbers = [float(n) for n in re.findall(r"[ML][\d.]+ ([\d.]+)", svg)]
    assert max(numbers) == pytest.approx(130), "the worst value reaches the bottom line"
    assert svg.count("M", svg.index('class="curve"')) == 2, "two strokes, one before and one after the gap"


def test_the_json_has_numbers_and_no_pictures(tmp_path: Path, data: ReportData) -> None:
    html_path, path = report.write_report(tmp_path / "quality.html", data)
    assert (html_path.name, path.name) == ("quality.html", "quality.json")
    value = json.loads(path.read_text())
    assert value["series"]["identity"]["values"][15] is None
    assert value["series"]["identity"]["summary"]["min"] == 0.1
    assert value["series"]["never"]["summary"]["count"] == 0
    assert value["untouched_frames"] == [[0, 4], [9, 10]]
    assert "base64" not in path.read_text()


def test_an_empty_report_is_a_page(tmp_path: Path) -> None:
    path, _ = report.write_report(tmp_path, ReportData("nothing"))
    assert "<section>" not in path.read_text()


# ---------------------------------------------------------------- purge
@pytest.fixture
def workspace(tmp_path: Path, data: ReportData) -> Path:
    work = tmp_path / "work"
    (work / "perceive/abc").mkdir(parents=True)
    (work / "perceive/abc/track.safetensors").write_bytes(b"biometric")
    (work / "swap/def").mkdir(parents=True)
    (work / "swap/def/000000.png").write_bytes(b"a face")
    report.write_report(work / "deliver/ghi", data)
    (work / MARKER_NAME).write_text("{}")
    return work


def test_purge_keeps_only_what_identifies_nobody(workspace: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep.txt").write_text("mine")
    (workspace / "link").symlink_to(outside)
    result = purge(workspace)
    assert sorted(p.name for p in workspace.rglob("*")) == [MARKER_NAME, "report.json"]
    assert (outside / "keep.txt").exists(), "links are removed, never followed"
    assert result.removed_files == 5 and result.removed_bytes > 0
    value = json.loads((workspace / "report.json").read_text())
    assert value["purged"] and "series" not in value and "sha256" not in value
    assert value["series_summary"]["identity"]["summary"]["min"] == 0.1
    assert [step["step"] for step in value["steps"]] == ["ingest", "fit"]
    assert purge(workspace).removed_files == 0, "a second time changes nothing"
    assert json.loads((workspace / "report.json").read_text()) == value


def test_purge_refuses_what_is_not_a_workspace(workspace: Path, tmp_path: Path) -> None:
    (workspace / MARKER_NAME).unlink()
    with pytest.raises(UsageError, match="nothing was erased"):
        purge(workspace)
    assert (workspace / "swap/def/000000.png").exists()
    with pytest.raises(MissingInputError):
        purge(tmp_path / "nowhere")
