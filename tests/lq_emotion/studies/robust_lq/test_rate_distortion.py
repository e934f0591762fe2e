"""The sweep: what nets see of coded frames, resuming by content, scores, tables, unusable input."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lq_emotion.evaluation.predictor import load_predictor
from lq_emotion.metrics.regression import Score, score
from lq_emotion.studies.robust_lq.rate_distortion import Coded, EnlargedFrames, psnr, rises, shrunk
from lq_emotion.studies.robust_lq.rd_results import Point, SweepResults
from lq_emotion.video.codecs import CODECS
from lq_emotion.video.encode import encode
from matlab_ports import imresize
from matlab_ports.eval_video import eval_video
from matlab_ports.matfile import loadmat
from tests.lq_emotion import commands
from tests.lq_emotion.commands import draw_weights, write_three_frame_net
from tests.lq_emotion.processes import kill

pytest.importorskip("av")
FRAMES = {"dev_1": 12, "dev_2": 9}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The authors' net as its fillers make it, twice."""
    folder = tmp_path_factory.mktemp("the weights")
    for seed in (3, 4):
        draw_weights(folder / f"{seed}.caffemodel", seed)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Recordings of something that moves and brightens."""
    folder = tmp_path_factory.mktemp("HQ crops")
    y, x = np.mgrid[:96, :96][..., None] / 96
    for name, count in FRAMES.items():
        t = np.arange(count)
        video = 0.45 + 0.2 * np.sin(6 * x + 0.2 * t) * np.cos(9 * y) + 0.1 * np.sin(t / 3)
        commands.save_crops(folder / f"{name}.mat", video, valence=np.sin(t / 3))
    return folder


def arguments(data, weights, out):
    models = [f"A={weights / '3.caffemodel'}", f"B@4={weights / '4.caffemodel'}"]
    return ["study", "rd", "--data", data, "--out", out, "--qps", 24, 36, "--device=cpu", "--weights", *models]


def run(data, weights, out, *more):
    return commands.run(*arguments(data, weights, out), *more)


@pytest.fixture(scope="module")
def swept(data, weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("the rd")
    assert run(data, weights, out) == 0
    return out


def read(out):
    with (out / "rd.csv").open() as file:
        return {(r["codec"], r["scale"], r["qp"], r["model"]): r for r in csv.DictReader(file)}


def test_values_outside_of_8_bits_are_clipped():
    class Frames:
        shape = (6, 6, 1)

        def take(self, _):
            return np.where(np.arange(36).reshape(6, 6, 1) % 6 < 3, -0.5, 1.5)

    assert set(np.unique(shrunk(Frames(), 1, 1))) == {0, 255}


def test_enlarged_frames_are_upright_single_and_not_clipped():
    small = np.zeros((2, 6, 8), np.uint8)
    small[1, :3] = 255  # the upper half
    frames = EnlargedFrames(small, (96, 96))
    assert frames.shape == (96, 96, 2)
    enlarged = frames.take(range(1, 2))
    assert enlarged.dtype == np.float32
    assert enlarged.shape == (96, 96, 1)
    assert enlarged[:40].min() > 0.9 > 0.1 > enlarged[56:].max()
    assert enlarged.max() > 1.01
    assert np.array_equal(enlarged[..., 0], imresize((small[1] / np.float32(255)).astype(np.float32), (96, 96)))


def test_psnr_is_that_of_8_bits():
    a = np.full((2, 4, 4), 100, np.uint8)
    assert psnr(a + np.uint8(5), a) == pytest.approx(34.1514, abs=1e-4)
    assert psnr(a, a) is None


def test_a_point_equals_its_steps_computed_separately(data, weights, swept):
    predictor, _ = load_predictor(weights / "3.caffemodel")
    predictions, gold, bits, pixels = [], [], 0, 0
    for name in FRAMES:
        crops = loadmat(data / f"{name}.mat")
        small = imresize(crops["video"].astype(np.float32), 1 / 4).transpose(2, 0, 1)
        coded = encode(np.floor(255 * small.astype(float) + 0.5).astype(np.uint8), "x265", qp=36)
        large = imresize(coded.decoded.transpose(1, 2, 0).astype(np.float32) / np.float32(255), (96, 96))
        predictions.append(eval_video(large, predictor).results)
        gold.append(crops["valence"].ravel())
        bits, pixels = bits + coded.total_bits, pixels + coded.decoded.size
    row = read(swept)["x265", "4", "36", "A"]
    expected = score(np.concatenate(predictions), np.concatenate(gold))
    assert (int(row["bits"]), float(row["bpp"])) == (bits, bits / pixels)
    assert int(row["frames"]) == 21
    assert float(row["cc"]) == pytest.approx(expected.cc, abs=1e-5)
    assert float(row["ccc"]) == pytest.approx(expected.ccc, abs=1e-5)


def test_every_size_codec_qp_and_model_has_a_row_and_small_frames_uncoded_too(swept):
    ways = {("none", ""), *((codec, qp) for codec in ("x264", "x265") for qp in ("24", "36"))}
    assert set(read(swept)) == {
        (codec, scale, qp, model) for codec, qp in ways for scale, model in (("3", "A"), ("4", "A"), ("4", "B"))
    }
    assert read(swept)["none", "4", "", "B"]["bpp"] == ""


def test_bits_fall_with_qp_and_vcl_bits_are_fewer_than_all(swept):
    results = json.loads((swept / "rd.json").read_text())
    assert results["bits_rise_with_qp"] == []
    assert all(p["vcl_bits"] < p["bits"] for p in results["points"] if p["qp"])
    assert results["bpp_published"] == {"qp": 24, "3": 0.24, "4": 0.4}
    assert SweepResults.from_json(results).to_json() == results


def test_figures_are_written(swept):
    for name in ("rd_x264.png", "rd_x265.png", "rate.png"):
        with Image.open(swept / name) as figure:
            assert min(figure.size) > 400


def test_only_missing_and_damaged_cells_are_computed_again(data, weights, swept, capsys):
    before = {path: path.stat().st_mtime_ns for path in (swept / "cells").rglob("*") if path.is_file()}
    damaged = swept / "cells" / "s3_x264_qp24" / "dev_2.A.npz"
    prediction = np.load(damaged)["prediction"]
    damaged.write_bytes(b"half of a fi")
    assert run(data, weights, swept) == 0
    output = capsys.readouterr().out
    assert [line for line in output.splitlines() if line.endswith("begins")] == ["code s3_x264_qp24: begins"]
    assert np.array_equal(np.load(damaged)["prediction"], prediction)
    changed = {path.parent.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == {"s3_x264_qp24"}


def todo(data, weights, out, capsys, *more):
    """Return the stages that are to be done."""
    capsys.readouterr()
    assert run(data, weights, out, "--dry-run", *more) == 0
    return [line.split()[-1] for line in capsys.readouterr().out.splitlines() if line.startswith("to do")]


def test_other_weights_are_predicted_anew_and_other_options_are_coded_anew(data, weights, swept, monkeypatch, capsys):
    assert todo(data, weights, swept, capsys) == []
    assert todo(data, weights, swept, capsys, "--qps", "24", "30") == [
        *(f"s{scale}_{codec}_qp30" for scale in (3, 4) for codec in ("x264", "x265"))
    ]
    other = ("--weights", f"A={weights / '3.caffemodel'}", f"B@4={weights / '3.caffemodel'}")
    assert {cell[:2] for cell in todo(data, weights, swept, capsys, *other)} == {"s4"}
    coarser = replace(CODECS["x264"], options=lambda qp: {"x264-params": f"qp={qp}"})
    monkeypatch.setitem(CODECS, "x264", coarser)
    assert {cell[3:7] for cell in todo(data, weights, swept, capsys)} == {"x264"}


def test_a_killed_sweep_resumes_and_ends_in_the_same_table(data, weights, swept, tmp_path):
    out = tmp_path / "rd"
    assert kill(arguments(data, weights, out), times=2) == 2
    assert not (out / "rd.csv").exists()
    assert run(data, weights, out) == 0
    assert (out / "rd.csv").read_text() == (swept / "rd.csv").read_text()


def test_a_table_that_no_sweep_wrote_stays(data, weights, tmp_path, capsys):
    (tmp_path / "rd.csv").write_text("mine")
    assert "rd.csv: exists" in commands.failed(capsys, *arguments(data, weights, tmp_path))
    assert (tmp_path / "rd.csv").read_text() == "mine"
    assert not (tmp_path / "cells").exists()


@pytest.mark.slow
def test_several_processes_give_the_same_table(data, weights, swept, tmp_path):
    assert run(data, weights, tmp_path, "--jobs", "2") == 0
    rows, expected = read(tmp_path), read(swept)
    assert rows.keys() == expected.keys()
    for key, row in rows.items():
        assert row["bits"] == expected[key]["bits"]
        assert float(row["ccc"]) == pytest.approx(float(expected[key]["ccc"]), abs=1e-6)


def test_rising_bits_are_listed():
    rest = dict.fromkeys(("vcl_bits", "bpp", "vcl_bpp", "psnr"))
    rest |= {"scale": 3, "model": "A", "score": Score(None, None, None, 9)}
    points = [Point(codec="x265", qp=qp, bits=bits, **rest) for qp, bits in ((20, 90), (24, 70), (28, 70))]
    assert rises(points) == ("x265, 1/3: QP 28 takes 70 bits, QP 24 70",)
    assert rises([*points[:2], Point(codec="none", qp=None, bits=None, **rest)]) == ()


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--codecs", "x266"], "codec = 'x266'"),
        (["--qps", "60"], "qp = 60"),
        (["--names", "dev_3"], "dev_3.mat"),
        (["--weights", "A=none.caffemodel"], "none.caffemodel"),
        (["--weights", "A=x", "A@3=y"], "model = 'A'"),
    ],
)
def test_unusable_input_is_one_line_before_anything_is_coded(data, weights, tmp_path, capsys, more, problem):
    (line,) = commands.failed(capsys, *arguments(data, weights, tmp_path / "out"), *more).splitlines()
    assert problem in line
    assert not (tmp_path / "out" / "cells").exists()


def test_a_net_of_three_frames_is_refused_before_anything_is_written(data, tmp_path, capsys):
    net, weights = write_three_frame_net(tmp_path)
    folder = tmp_path / "run" / "snapshots"
    folder.mkdir(parents=True)
    net.rename(folder.parent / "deploy.prototxt")
    argv = ["study", "rd", "--data", data, "--out", tmp_path / "out", "--device=cpu"]
    assert "(1, 3, 96, 96)" in commands.failed(capsys, *argv, "--weights", f"A={weights.rename(folder / weights.name)}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", [{"frames": 0}, {"psnr": -1.0}])
def test_coded_frames_have_pixels_and_no_negative_psnr(change):
    with pytest.raises(ValueError, match="pixels with a PSNR of"):
        Coded(**{"frames": 1, "height": 2, "width": 3, "psnr": None, **change})
