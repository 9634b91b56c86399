"""A whole clip through the diffusion swapper: the gate paints failed frames again and leaves the hopeless out."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import quiet

from gswap.foundation.errors import InputError
from gswap.foundation.store import PngStore, write_arrays
from gswap.swap.diffusion.config import AdaptConfig, DiffusionConfig, GateConfig, SampleConfig
from gswap.swap.diffusion.gate import Measure, best_attempt, least_identity, passes
from gswap.swap.diffusion.plan import InpaintPlan
from gswap.swap.diffusion.swapper import DiffusionSwapper, Photos, Tools, swap_frame
from gswap.swap.embedded.swapper import EmbeddedSwapper
from gswap.swap.reenact import EmbeddedReenactor

CFG = DiffusionConfig(
    adapt=AdaptConfig(method="none", validate_every=0),
    sample=SampleConfig(start="reenact", strength=0.05, side=48, steps=20, batch=2),
    gate=GateConfig(reseeds=2),
)
VECTOR = np.random.default_rng(0).normal(size=512)


@pytest.fixture(scope="module")
def plan(clip, people, model, tmp_path_factory):
    target, photos = clip.target(), people.photos()
    swapper = EmbeddedSwapper(target, clip.faces, clip.body, photos, people.faces, people.body, model)
    plan = InpaintPlan(target, clip.faces, range(3), tmp_path_factory.mktemp("plan"), CFG)
    plan.reenact(EmbeddedReenactor(swapper))
    return plan


@pytest.fixture
def make(plan, people, folders, tmp_path):
    """A swapper whose faces are found as ``found(t, attempt)`` says: an offset in pixels, or ``None``."""

    def build(found, folder=tmp_path):
        counts: dict[int, int] = {}

        def find(images, wanted):
            out = []
            for points in wanted:
                t = next(t for t in plan.frames if np.allclose(plan.landmarks(t), points))
                offset = found(t, counts.setdefault(t, 0))
                counts[t] += 1
                out.append(None if offset is None else np.column_stack([points + offset, np.zeros(478)]))
            return out

        def embed(image, landmarks):
            return VECTOR

        tools = Tools(folders, "cpu", embed, embed, find)
        return DiffusionSwapper(plan, Photos(people.photos(), people.faces), tools, CFG, 0, folder), counts

    return build


def test_failed_frames_are_painted_again_and_the_hopeless_left_out(make):
    """Frame 1 is found at the second attempt, frame 2 never."""

    def found(t, attempt):
        if t == 1 and attempt == 0:
            return None
        return 60.0 if t == 2 else 0.5

    swapper, counts = make(found)
    with quiet():
        verdicts = swapper.paint()
    assert [(v.attempt, v.accepted) for v in verdicts.values()] == [(0, True), (1, True), (0, False)]
    assert counts == {0: 1, 1: 2, 2: 3}
    assert not np.array_equal(swapper.painted(1, 0), swapper.painted(1, 1)), "other noise"
    with quiet():
        again = swapper.paint()
    assert again == verdicts and counts == {0: 1, 1: 2, 2: 3}, "nothing is measured twice"


@pytest.mark.parametrize("stage", ["between batches", "painted but not measured", "half of a batch stored"])
def test_a_painting_that_was_stopped_goes_on_to_the_same_bytes(make, tmp_path, stage):
    """Three frames in batches of two, and a second attempt at the last one."""

    def found(t, attempt):
        return None if t == 2 and attempt == 0 else 0.5

    whole, _ = make(found, tmp_path / "whole")
    with quiet():
        expected = whole.paint()

    stopped, _ = make(found, tmp_path / "stopped")
    painted, measure = PngStore.write, stopped.measure
    with quiet(), pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if stage == "between batches":
            stopped.paint(progress=interrupt_at(1))
        elif stage == "painted but not measured":
            patch.setattr(stopped, "measure", lambda batch: interrupt() if len(batch) == 1 else measure(batch))
            stopped.paint()
        else:
            patch.setattr(
                PngStore, "write", lambda store, t, image: interrupt() if t == 1 else painted(store, t, image)
            )
            stopped.paint()
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "stopped").glob("measure0/*.json")}
    assert len(kept) == {"between batches": 2, "painted but not measured": 2, "half of a batch stored": 0}[stage]
    again, _ = make(found, tmp_path / "stopped")
    with quiet():
        assert again.paint() == expected
    assert all(p.stat().st_mtime_ns == before for p, before in kept.items()), "what was measured is not made again"
    for name in ("attempt0", "attempt1", "measure0", "measure1"):
        files = sorted(p.name for p in (tmp_path / "whole" / name).iterdir())
        assert files and files == sorted(p.name for p in (tmp_path / "stopped" / name).iterdir())
        for file in files:
            assert (tmp_path / "whole" / name / file).read_bytes() == (tmp_path / "stopped" / name / file).read_bytes()


def interrupt():
    raise KeyboardInterrupt


def interrupt_at(count):
    """A progress that stops everything at its ``count``-th call."""
    calls = []

    def progress(done: int, total: int, note: str = "") -> None:
        calls.append(note)
        if len(calls) == count:
            raise KeyboardInterrupt

    return progress


def test_where_nothing_is_learnt_nothing_is_loaded_or_encoded(make, monkeypatch, tmp_path):
    """Up to twelve photos in sixteen versions each, and their garments, would be made for nothing."""

    def loaded(*arguments, **options):
        raise AssertionError("the generator was loaded")

    monkeypatch.setattr("gswap.swap.diffusion.swapper.load_generator", loaded)
    swapper, _ = make(lambda t, attempt: 0.5)
    learnt = swapper.adapt()
    assert (learnt.steps, learnt.losses, learnt.identities) == (0, (), ())
    assert not list(tmp_path.iterdir())


def test_a_clip_without_one_good_frame_is_refused(make):
    swapper, _ = make(lambda t, attempt: None)
    with quiet(), pytest.raises(InputError, match="found none"):
        swapper.paint()


def test_frames_are_assembled_over_plate_or_as_painted(plan, clip):
    target, t = clip.target(), 1
    area = plan.area(t)
    painted = np.where(area[..., None], 200, target.rgb[t]).astype(np.uint8)
    head, neck = target.head[t], target.neck[t]
    for background, shown in (("plate", target.plate[t]), ("generated", painted)):
        frame = swap_frame(plan, t, painted, head, neck, True, background)
        assert np.array_equal(frame.rgb[~area], target.rgb[t][~area])
        around = area & (np.maximum(head, neck) == 0)
        assert np.array_equal(frame.rgb[around], shown[around])
        assert (frame.rgb[(head == 255) & area] == 200).all()
        assert frame.confidence.min() == 255
    assert swap_frame(plan, t, painted, head, neck, False, "plate").confidence.max() == 0


def test_the_canvas_is_framed_on_the_new_head(plan):
    planned = plan.frame(1)
    mask = planned.canvas.area
    assert mask.shape == (48, 48) and 0.1 < mask.mean() < 0.7
    assert not mask[0].any() and not mask[:, 0].any() and not mask[:, -1].any()
    assert planned.canvas.hint.any()


def test_a_reenactment_without_a_head_is_named(plan, clip, tmp_path):
    class Headless(InpaintPlan):
        """Its second frame shows no head."""

        def reenact(self, *_) -> None:
            for t in self.frames:
                write_arrays(self._points_file(t), {"landmarks": plan.landmarks(t)})
                self._heads.write(t, plan._heads[t] * np.uint8(t != 1))

    headless = Headless(clip.target(), clip.faces, range(3), tmp_path, CFG)
    headless.reenact()
    with pytest.raises(InputError, match="reenacted head in frame 1") as caught:
        headless.frame(0)
    assert caught.value.frame == 1


def test_the_gate_is_relative_to_the_clip():
    cfg = GateConfig()
    first = {0: Measure(0.9, 0.01), 1: Measure(0.8, 0.01), 2: Measure(None, None), 3: Measure(0.5, 0.01)}
    least = least_identity(first, cfg)
    assert least == pytest.approx(0.7 * 0.8)
    assert [passes(m, least, cfg) for m in first.values()] == [True, True, False, False]
    assert not passes(Measure(0.9, 0.09), least, cfg)
    assert best_attempt([Measure(None, None), Measure(0.9, 0.2), Measure(0.3, 0.1)], least, cfg) == (2, False)
    assert best_attempt([Measure(0.1, 0.01), Measure(0.9, 0.05)], least, cfg) == (1, True)
    assert least_identity({0: Measure(None, None)}, cfg) == np.inf
