"""The scoring of clips on known answers, with readers that know them; and that memory does not grow with the clip."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from gswap.apps.cli.console import Terminal
from gswap.apps.cli.evaluate import Evaluate
from gswap.apps.evaluate import measures as m
from gswap.apps.evaluate import results
from gswap.apps.evaluate.baselines import calmest_frame
from gswap.apps.evaluate.body_reader import LIMIT, BodyParameters
from gswap.apps.evaluate.instruments import Instruments, NetworkParameters
from gswap.apps.evaluate.results import MethodScores, PairScores
from gswap.apps.evaluate.run import write
from gswap.apps.evaluate.scoring import Sample, Shown, SourceFaces, score
from gswap.apps.evaluate.speed import Speed, markdown
from gswap.apps.evaluate.study import TITLES, Tally, tally_markdown
from gswap.apps.evaluate.unsteady import disturbed
from gswap.foundation.errors import InputError
from gswap.foundation.types import SwapSet
from gswap.metrics.descriptor import describe

SIZE = 64
ME, OTHER = np.eye(128)[:2] * 0.6
PHOTOS = SourceFaces(np.stack([OTHER, OTHER + 0.05 * np.eye(128)[5]]))


def face(t: int, gap: float = 0.0) -> np.ndarray:
    points = np.random.default_rng(7).normal(0, 6, (478, 3)) + 32
    points[[33, 133, 362, 263], :2] = [[20, 28], [28, 28], [36, 28], [44, 28]]
    points[[468, 473], :2] = [[24, 28], [40, 28]]
    points[[10, 152]] = [[32, 12, 0], [32, 52, 0]]
    points[[13, 14], :2] = [[32, 44], [32, 44 + 2 + gap]]
    return points + np.array([np.sin(t / 5), 0, 0])


def image(t: int) -> np.ndarray:
    """A calm texture that slides."""
    y, x = np.mgrid[:SIZE, :SIZE]
    waves = 120 + 60 * np.sin((x - np.sin(t / 5)) / 5) + 40 * np.cos(y / 7)
    return np.repeat(waves[..., None], 3, 2).astype(np.uint8)


class NoParameters:
    def __init__(self, results: int, width: int, height: int) -> None:
        self.count = results

    def add(self, target, landmarks, results) -> None:
        pass

    def distances(self):
        return [(np.zeros(1), np.zeros(1))] * self.count


def tools(gap_of_result: float = 0.0, lose: bool = False) -> Instruments:
    """Pictures whose first pixel is white are the source's, others the target's."""

    def find(picture, near):
        if lose:
            return None
        points = near.copy()
        if picture[0, 0, 0] == 255:
            points[14, 1] += gap_of_result
        return points

    def embed(picture, points):
        return OTHER if picture[0, 0, 0] == 255 else ME

    return Instruments(embed=embed, find=find, parameters=NoParameters, frame=describe)


def swapped(picture: np.ndarray) -> np.ndarray:
    out = picture.copy()
    out[0, 0] = 255
    return out


HEAD = np.zeros((SIZE, SIZE), np.uint8)
cv2.circle(HEAD, (32, 32), 22, 255, -1)


def clip(count: int, change=lambda t, picture: picture, truth=None) -> Iterator[Sample]:
    for t in range(count):
        now, before = image(t), None if t == 0 else image(t - 1)
        shown = Shown(change(t, now), None if before is None else change(t - 1, before))
        yield Sample(t, now, before, (), face(t), HEAD, [shown], None if truth is None else truth(t, now))


def test_an_unchanged_clip_scores_as_the_target_itself() -> None:
    (found,) = score(clip(20, truth=lambda t, p: p), 1, PHOTOS, tools())
    for slot in ("expression", "pose", "gaze", "landmarks", "identity_target", "outside", "lost", "gmsd_head"):
        assert found.means[slot] == pytest.approx(0, abs=1e-6), slot
    assert found.means["flicker"] == pytest.approx(1) and found.means["psnr_head"] == float("inf")
    assert found.means["ssim_seam"] == pytest.approx(1)
    assert found.means["dlib_similarity"] == pytest.approx(0), "as far from the photos as the target person"
    assert found.means["lid_correlation"] != found.means["lid_correlation"], "lids that never move have none"


def test_every_series_has_a_number_per_measured_frame() -> None:
    """A truth may end earlier than the clip, and a job may pass frames through that it did not generate."""

    def partly(sample: Sample) -> Sample:
        truth = sample.rgb if sample.index < 5 else None
        generated = (sample.rgb, HEAD) if sample.index in (2, 3) else None
        return replace(sample, truth=truth, results=[replace(sample.results[0], generated=generated)])

    (found,) = score(map(partly, clip(7)), 1, PHOTOS, tools())
    assert {len(values) for values in found.series.values()} == {7}
    assert np.flatnonzero(np.isfinite(found.series["mse_head"])).tolist() == [0, 1, 2, 3, 4]
    assert np.flatnonzero(np.isfinite(found.series["mse_gen"])).tolist() == [2, 3]
    assert found.means["psnr_head"] == found.means["psnr_gen"] == float("inf")


def test_another_person_is_told_by_identity_alone() -> None:
    (found,) = score(clip(20, lambda t, p: swapped(p)), 1, PHOTOS, tools())
    assert found.means["identity_source"] == 0 and found.means["identity_target"] == pytest.approx(0.6 * 2**0.5)
    assert found.means["dlib_similarity"] > 1 and found.means["expression"] == 0


def test_permuted_frames_flicker_and_are_less_consistent() -> None:
    order = np.random.default_rng(1).permutation(40)
    unsteady = lambda t, p: np.clip(image(int(order[t])).astype(int) + 20 * (-1) ** t, 0, 255).astype(np.uint8)  # noqa: E731
    (calm,), (mixed,) = (score(clip(40, c), 1, PHOTOS, tools()) for c in (lambda t, p: p, unsteady))
    assert mixed.means["flicker"] > 3 * calm.means["flicker"]
    assert mixed.means["hog_consistency"] < calm.means["hog_consistency"]


def test_a_constant_difference_of_the_face_is_identity_not_expression() -> None:
    (found,) = score(clip(20, lambda t, p: swapped(p)), 1, PHOTOS, tools(gap_of_result=3.0))
    assert found.means["expression"] == pytest.approx(0, abs=1e-6)
    assert found.means["landmarks"] == pytest.approx(0, abs=1e-6)


def test_change_outside_the_head_is_found() -> None:
    def stained(t, p):
        out = p.copy()
        out[2, 60] = p[2, 60] + 9
        return out

    (found,) = score(clip(5, stained), 1, PHOTOS, tools())
    assert found.outside.largest == 9 and 0 < found.outside.mean < 0.02
    assert "outside the head" in found.outside.compared


def test_own_samples_are_compared_where_both_are_there() -> None:
    def with_planes(sample: Sample) -> Sample:
        plane = (sample.rgb[..., 0].astype(np.uint16) * 4,)
        edited = HEAD > 0
        changed = plane[0].copy()
        changed[edited] += 5
        shown = replace(sample.results[0], planes=(changed,), edited=edited)
        return replace(sample, planes=plane, results=[shown])

    (found,) = score(map(with_planes, clip(4)), 1, PHOTOS, tools())
    assert found.outside.largest == 0 and "own samples" in found.outside.compared


def test_lost_faces_are_counted_not_invented() -> None:
    (found,) = score(clip(6), 1, PHOTOS, tools(lose=True))
    assert found.means["lost"] == 1 and "expression" not in found.means
    assert np.isnan(found.means["identity_source"])


def test_two_results_are_scored_apart() -> None:
    def two(sample: Sample) -> Sample:
        other = Shown(swapped(sample.rgb), None if sample.before is None else swapped(sample.before))
        return replace(sample, results=[*sample.results, other])

    same, new = score(map(two, clip(6)), 2, PHOTOS, tools())
    assert same.means["identity_target"] == 0 and new.means["identity_source"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_flat_over_ten_thousand_frames() -> None:
    marks = {}

    def frames() -> Iterator[Sample]:
        base = list(clip(50))
        for t in range(10_000):
            sample = base[t % 50]
            # fresh pictures every time: whoever keeps them is found out (they are 250 MB together)
            shown = Shown(sample.rgb + np.uint8(1), None if t % 40 else sample.rgb + np.uint8(1))
            yield replace(sample, index=t, before=None if t % 40 else sample.rgb.copy(), results=[shown])
            if t in (1_000, 9_999):
                with open("/proc/self/statm") as handle:
                    marks[t] = int(handle.read().split()[1]) * 4096 / 2**20

    (found,) = score(frames(), 1, PHOTOS, tools())
    assert len(found.frames) == 10_000
    assert marks[9_999] - marks[1_000] < 40, f"grew from {marks[1_000]:.0f} to {marks[9_999]:.0f} MB"


# ---------------------------------------------------------------- tables
def pair_scores(name: str, readers: Instruments, **means: float) -> PairScores:
    (found,) = score(clip(3), 1, PHOTOS, readers)
    scored = [
        MethodScores(method, "told", replace(found, means={**found.means, "expression": value}))
        for method, value in means.items()
    ]
    return PairScores(name, readers.measures(truth=False, reference=False), scored)


def test_tables_mean_over_pairs_and_mark_the_best() -> None:
    pairs = [pair_scores("a", tools(), ours=0.1, theirs=0.3), pair_scores("b", tools(), ours=0.2, theirs=0.1)]
    made = results.table("t", pairs, ("own",))
    assert made.rows["ours"]["expression"] == pytest.approx(0.15) and made.counts == {"ours": 2, "theirs": 2}
    assert results.best(made)["expression"] == "ours"
    text = results.markdown(made)
    assert "**0.1500**" in text and "| theirs |" in text
    assert "NaN" not in json.dumps(results.to_json(pairs, {}))


def test_a_bar_in_a_name_does_not_end_the_cell() -> None:
    made = results.table("t", [pair_scores("a", tools(), **{"ours|fast": 0.1, "theirs": 0.3})], ("own",))
    facts = dict.fromkeys(("date", "machine", "window", "threads"), "x")
    answers = dict.fromkeys(TITLES, (1.0, 0.5, 1.5, 4))
    told = (
        results.markdown(made),
        tally_markdown(Tally(1, 1, {"ours|fast": answers})),
        markdown([Speed("ours|fast", 30, 1.0, 1.0, "all")], facts),
    )
    for text in told:
        rows = [line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")]
        assert len(rows) > 2 and len(set(rows)) == 1 and "ours\\|fast" in text


def test_a_name_that_is_no_utf8_is_written_as_it_is(tmp_path) -> None:
    """A method is named after a file, and a file may have any bytes in its name."""
    method = os.fsdecode(b"caf\xe9")
    page = write(tmp_path, "Evaluation", [pair_scores("a", tools(), **{method: 0.1})], ())
    assert b"| caf\xe9 |" in page.with_suffix(".md").read_bytes() and b"caf\xe9" in page.read_bytes()
    assert Evaluate()._show(page, Terminal()) == 0


def test_readers_are_never_mixed_in_a_table() -> None:
    network = replace(tools(), identity_measure=m.CSIM)
    with pytest.raises(InputError, match="stand-in"):
        results.table("t", [pair_scores("a", tools(), x=1.0), pair_scores("b", network, x=1.0)], ("paper",))
    stand_ins = {c.slot: c for c in tools().measures(truth=True, reference=False)}
    networks = {c.slot: c for c in (m.AED, m.APD, m.CLIP, *m.perceptual_measures("VGG-16"))}
    for slot, paper in (
        ("body_aed", "aed"),
        ("body_apd", "apd"),
        ("hog_consistency", "clip"),
        ("gmsd_head", "lpips_seam"),
    ):
        with pytest.raises(InputError, match="stand-in"):
            results.columns_of([PairScores("a", (stand_ins[slot],), ()), PairScores("b", (networks[paper],), ())])
    other = replace(tools(), identity_measure=replace(m.CSIM, reader="another ArcFace"))
    with pytest.raises(InputError, match="not one measure"):
        results.table("t", [pair_scores("a", network, x=1.0), pair_scores("b", other, x=1.0)], ("paper",))
    with pytest.raises(InputError, match="cannot be ranked"):
        m.ranks(m.CSIM, {"a": 1.0, "b": 2.0}, ["ArcFace", "dlib"])


def test_ranks_follow_the_direction() -> None:
    values = {"a": 1.3, "b": 0.9, "c": float("nan")}
    by_slot = {measure.slot: measure for measure in m.OWN}
    assert m.ranks(by_slot["flicker"], values, [""]) == ["b", "a"]
    assert m.ranks(m.CSIM, values, ["ArcFace"]) == ["a", "b"]
    assert m.ranks(m.AED, values, ["SMIRK"]) == ["b", "a"]


# ---------------------------------------------------------------- readers and unsteady images
def test_network_parameters_are_mean_l1_distances_of_found_faces() -> None:
    def read(picture, points):
        level = float(picture[0, 0, 0])
        return np.array([level, 2 * level, 0.0]), np.array([level / 10])

    network = NetworkParameters(read, 2)
    for level in (0, 20, 40):
        target, result = (np.full((4, 4, 3), value, np.uint8) for value in (level, level + 6))
        network.add(target, face(0), [(result, face(0)), (target, None if level else face(0))])
    (expression, pose), (lost, _) = network.distances()
    np.testing.assert_allclose(expression, 6.0)
    np.testing.assert_allclose(pose, 0.6)
    np.testing.assert_allclose(lost, [0.0])
    assert NetworkParameters(read, 1).distances()[0][0].shape == (0,)


def test_the_body_reader_keeps_a_bounded_even_sample() -> None:
    reader = BodyParameters(1, SIZE, SIZE)
    for t in range(1000):
        reader.add(image(0), np.full((478, 3), float(t)), [(image(0), None)])
    kept = [row[0, 0, 0] for row in reader._rows]
    assert len(kept) <= LIMIT and set(np.diff(kept)) == {reader._stride}
    assert reader.distances()[0][0].shape == (0,), "without a face in the result there is nothing to compare"


def test_the_calmest_frame_is_one_that_shows_the_face() -> None:
    """Landmarks of a frame in which a hand covers the face are interpolated: the smoothest of all."""
    bridged = np.array([True, False, False])
    faces: Any = SimpleNamespace(landmarks=np.stack([face(0)] * 3), valid=np.ones(3, bool), bridged=bridged)
    body: Any = SimpleNamespace(valid=np.ones(3, bool))
    assert calmest_frame(faces, body) == 1
    faces.bridged = np.ones(3, bool)
    with pytest.raises(InputError, match="shows the person"):
        calmest_frame(faces, body)


def test_unsteady_images_keep_the_plate_and_are_the_same_for_the_same_seed() -> None:
    plate = np.full((SIZE, SIZE, 3), 90, np.uint8)
    rgb = np.where(HEAD[..., None] > 0, image(0), plate)
    images = SwapSet([rgb], [HEAD], [np.zeros_like(HEAD)], [plate], [np.full_like(HEAD, 255)])
    one, same, other = (disturbed(images, 0, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.rgb, same.rgb)
    assert (one.rgb != other.rgb).any() and (one.rgb != rgb).any()
    free = (one.head == 0) & (one.neck == 0)
    np.testing.assert_array_equal(one.rgb[free], plate[free])
    assert abs(int(np.count_nonzero(one.head > 127)) / np.count_nonzero(HEAD > 127) - 1) < 0.15
