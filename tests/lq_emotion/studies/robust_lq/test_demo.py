"""The demo: what it claims, and what it prints."""

from pathlib import Path

import pytest

from lq_emotion.cli.demo import lines
from lq_emotion.nets.names import Net
from lq_emotion.quality.settings import Grid
from lq_emotion.studies.robust_lq import recipes
from lq_emotion.studies.robust_lq.demo import DemoResults, DemoSize, TrustedVideo, demo_plan, run_demo
from lq_emotion.studies.robust_lq.upscaling import SrGain
from lq_emotion.training.settings import Changes
from tests.lq_emotion.commands import quiet

RESULTS = DemoResults(
    ccc={"HR": {"HQ": 0.75, "LR-3": 0.5, "LR-8": None}, "Joint-OA": {"LR-3": 0.8, "LR-8": 0.6}},
    coded={"HR on LR": {"QP 20": 0.5}, "Joint-OA": {"QP 20": 0.7}},
    sr=SrGain(8, 120, 22.5, 22.75),
    level=0.9,
    half_width=0.5,
    videos=(TrustedVideo("dev_12", 200, 150, Path("page.html")),),
)


def test_the_summary_has_a_row_for_each_net():
    text = list(lines(RESULTS))
    assert text[1].split() == ["HQ", "LR-3", "LR-8"]
    assert text[2].split() == ["HR", "0.750", "0.500", "–"]
    assert text[3].split() == ["Joint-OA", "–", "0.800", "0.600"]
    assert text[4] == "Super-resolution at s = 8: 22.75 dB, bicubic 22.50 dB (+0.25), 120 faces."
    assert "  dev_12: 150 of 200 estimates are trusted" in text


def test_the_results_are_read_back():
    assert DemoResults.from_json(RESULTS.to_json()) == RESULTS


def test_the_recipe_changes_the_solver():
    solver = demo_plan(Path("out"), DemoSize()).preset_of(Net.JOINT)
    assert Changes(**solver).type == "Adam"
    assert solver["max_iter"] < 1000
    assert set(recipes.preset("demo")) == {*Net, "sr"}


def test_iterations_hold_for_every_net():
    plan = demo_plan(Path("out"), DemoSize(iterations=7))
    assert {plan.preset_of(net)["max_iter"] for net in Net} == {7}


@pytest.mark.slow
def test_a_demo_of_two_iterations_repeats(tmp_path):
    size = DemoSize(
        train=2, dev=11, frames=64, scales=(3, 8), coded={"codecs": ("x264",), "qps": (36,), "coded_frames": 10},
        grid=Grid(scales=(1, 4), qps=(20, 36)), calibrated=12, iterations=2,
    )  # fmt: skip
    mine = tmp_path / "a/sr/notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    first, second = (run_demo(tmp_path / name, size, threads=1, say=quiet) for name in ("a", "b"))
    assert (first.ccc, first.coded, first.sr, first.half_width) == (
        second.ccc, second.coded, second.sr, second.half_width,
    )  # fmt: skip
    assert [video.trusted for video in first.videos] == [video.trusted for video in second.videos]
    assert mine.read_text() == "mine"
    assert not (tmp_path / "b/sr").exists()
    assert len([*(tmp_path / "a").glob("data/raw_data/*/*.mat")]) == 3
    assert not [path for kind in ("h5", "solverstate") for path in (tmp_path / "a").rglob(f"*.{kind}")]
    assert run_demo(tmp_path / "a", size, threads=1, say=quiet) == first  # what is done is not done again


@pytest.mark.slow
def test_the_demo_shows_what_it_claims(tmp_path):
    results = run_demo(tmp_path, say=quiet)
    hr, joint_oa = results.ccc["HR"], results.ccc["Joint-OA"]
    assert hr["HQ"] > 0.6
    assert joint_oa["LR-8"] > hr["LR-8"] + 0.2
    assert results.sr.gain > 0
    assert results.coded["Joint-OA"]["QP 28"] > results.coded["HR on LR"]["QP 28"]
    as_recorded, low = results.videos
    assert as_recorded.trusted > low.trusted
