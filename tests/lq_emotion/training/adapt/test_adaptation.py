"""Small nets adapted to clips of drawn faces (synthetic)."""

import json

import cv2
import numpy as np
import pytest
import torch

from caffe_compat.build.net import load_net
from caffe_compat.build.preprocess import Preprocessing, save_preprocessing
from caffe_compat.build.weights import read_weights, save_weights
from caffe_compat.formats.files import parse_text, write_text
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.known.loading import load_model
from lq_emotion.training.adapt.report import write_report
from lq_emotion.training.adapt.settings import AdaptationResults, FacesFound, StageResults
from lq_emotion.training.adapt.targets import Target
from lq_emotion.training.run import Run
from tests.lq_emotion.commands import failed, run
from tests.lq_emotion.datasets.clips.drawn import draw_frames

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 24 dim: 24 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 5 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
LABELS = "angry\nhappy\nneutral\n"
OPTIONS = (
    *("--detector", "haar", "--device=cpu", "--split", 0.5, 0.25, 0.25),
    *("--iterations", 24, "--batch", 8, "--base-lr", 0.003),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Weights of a small net with its sidecars."""
    folder = tmp_path_factory.mktemp("model")
    net = parse_text(NET, pb.NetParameter)
    built = load_net(net, seed=1)
    for name in ("bn.variance", "bn.factor"):
        built.state_dict()[name].fill_(1)
    save_weights(built, folder / "small.caffemodel")
    write_text(net, folder / "small.prototxt")
    save_preprocessing(
        Preprocessing("GRAY", resize=(24, 24), raw_scale=1 / 128, mean=None), folder / "small.caffemodel"
    )
    (folder / "small.labels.txt").write_text(LABELS)
    return folder / "small.caffemodel"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures of four drawn persons, six of each, from sad to happy, and tables of their labels."""
    folder = tmp_path_factory.mktemp("pictures")
    tables = {name: [f"file,person,{name}"] for name in ("label", "mood", "own")}
    for person in range(1, 5):
        for number, valence in enumerate(np.linspace(-1, 1, 6)):
            file = f"{person}_{number}.png"
            cv2.imwrite(str(folder / file), draw_frames(person, [valence])[0][:, :, ::-1])
            tables["label"].append(f"{file},p{person},{'smiling' if valence > 0 else 'sulking'}")
            tables["mood"].append(f"{file},p{person},{50 + 40 * valence:.1f}")
            tables["own"].append(f"{file},p{person},{'happy' if valence > 0 else 'angry'}")
    for name, lines in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(lines).replace("own", "label") + "\n")
    return folder


def adapt(model, table, out, *more):
    return run("adapt", model, "--clips", table, "--out", out, *OPTIONS, *more)


@pytest.fixture(scope="module")
def smiling(model, pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "smiling"
    assert adapt(model, pictures / "label.csv", out) == 0
    return out


def test_new_classes_get_a_new_head_and_the_folder_loads_as_a_model(smiling):
    results = json.loads((smiling / "adapt.json").read_text())
    assert results["head_is_new"]
    assert results["names"] == ["smiling", "sulking"]
    assert {part: len(persons) for part, persons in results["persons"].items()} == {"train": 2, "dev": 1, "test": 1}
    loaded = load_model(smiling)
    assert (loaded.name, loaded.outputs.names) == ("smiling", ("smiling", "sulking"))
    assert loaded.preprocessing.raw_scale == 1 / 128
    with torch.no_grad():
        probabilities = loaded.net(torch.zeros(1, 1, 24, 24))
    assert probabilities.shape == (1, 2)
    assert float(probabilities.sum()) == pytest.approx(1)


def test_the_report_compares_the_net_with_a_constant_answer(smiling):
    results = json.loads((smiling / "adapt.json").read_text())
    assert list(results["scores"]) == ["dev", "test"]
    assert list(results["scores"]["test"]) == ["constant", "frozen", "adapted"]
    assert results["scores"]["test"]["constant"]["mean_recall"] == 0.5
    report = (smiling / "report.md").read_text()
    assert "## Scores on test" in report
    assert "before" not in report
    for name in ("losses.png", "confusion.png"):
        assert cv2.imread(str(smiling / name)) is not None


def test_the_first_stage_leaves_all_layers_but_the_head_as_they_were(smiling, model):
    before = read_weights(model)
    frozen = read_weights(smiling / "work/frozen.caffemodel")
    adapted = read_weights(smiling / "smiling.caffemodel")
    for layer in ("conv", "bn", "scale"):
        assert all((one == other).all() for one, other in zip(before[layer], frozen[layer], strict=True))
    assert all((one == other).all() for one, other in zip(before["bn"], adapted["bn"], strict=True))
    assert "fc" not in frozen
    assert frozen["fc_adapted"][0].shape == (2, 600)


def test_few_snapshots_stay_and_the_best_is_among_them(smiling):
    results = json.loads((smiling / "adapt.json").read_text())
    for stage in ("frozen", "unfrozen"):
        kept = results["stages"][stage]["kept"]
        names = {path.name for path in (smiling / "work" / stage / "snapshots").glob("*.caffemodel")}
        assert len(names) <= 2
        assert not kept or f"adapt_iter_{kept}.caffemodel" in names


def test_a_second_call_trains_nothing_and_another_adaptation_is_refused(smiling, model, pictures, capsys):
    before = (smiling / "smiling.caffemodel").read_bytes()
    capsys.readouterr()
    assert adapt(model, pictures / "label.csv", smiling) == 0
    assert "iteration 1 of" not in capsys.readouterr().out
    assert (smiling / "smiling.caffemodel").read_bytes() == before
    argv = ("adapt", model, "--clips", pictures / "own.csv", "--out", smiling, *OPTIONS)
    assert "contains another adaptation" in failed(capsys, *argv)


def test_a_killed_adaptation_continues_and_ends_in_the_same_weights(smiling, model, pictures, tmp_path, monkeypatch):
    train = Run.train

    def killed(self, param, *args, **options):
        if self.label == "unfrozen":
            param.max_iter = 5
            train(self, param, *args, **options)
            raise RuntimeError("killed")
        return train(self, param, *args, **options)

    out = tmp_path / "smiling"
    with monkeypatch.context() as patch:
        patch.setattr(Run, "train", killed)
        with pytest.raises(RuntimeError, match="killed"):
            adapt(model, pictures / "label.csv", out)
    assert adapt(model, pictures / "label.csv", out) == 0
    assert (out / "smiling.caffemodel").read_bytes() == (smiling / "smiling.caffemodel").read_bytes()


def test_a_dimension_is_estimated_in_the_units_of_the_table(model, pictures, tmp_path):
    assert adapt(model, pictures / "mood.csv", tmp_path / "mood") == 0
    loaded = load_model(tmp_path / "mood")
    [dimension] = loaded.outputs.dimensions
    assert (dimension.name, dimension.low, dimension.high) == ("mood", 10, 90)
    scores = json.loads((tmp_path / "mood/adapt.json").read_text())["scores"]["dev"]
    assert scores["constant"]["dimensions"]["mood"]["rmse"] == pytest.approx(27.325, abs=0.01)
    assert scores["adapted"]["dimensions"]["mood"]["rmse"] < 60
    assert not (tmp_path / "mood/confusion.png").exists()


def test_classes_that_the_model_has_keep_its_head(model, pictures, tmp_path):
    assert adapt(model, pictures / "own.csv", tmp_path / "own") == 0
    results = json.loads((tmp_path / "own/adapt.json").read_text())
    assert not results["head_is_new"]
    assert results["names"] == ["angry", "happy", "neutral"]
    assert list(results["scores"]["dev"]) == ["constant", "before", "frozen", "adapted"]
    assert load_model(tmp_path / "own").outputs.names == ("angry", "happy", "neutral")


def test_what_cannot_be_learnt_is_refused_before_anything_is_written(model, pictures, tmp_path, capsys):
    table = pictures / "constant.csv"
    table.write_text("file,person,mood\n1_0.png,a,1\n2_0.png,b,1\n3_0.png,c,1\n4_0.png,d,2\n")
    assert "mood" in failed(capsys, "adapt", model, "--clips", table, "--out", tmp_path / "out", *OPTIONS)
    table.write_text("file,person,label\n1_0.png,a,x\n2_0.png,b,x\n3_0.png,c,x\n4_0.png,d,x\n")
    assert "only class" in failed(capsys, "adapt", model, "--clips", table, "--out", tmp_path / "out", *OPTIONS)
    assert not (tmp_path / "out").exists()


MARKUP = ("<script>alert(1)</script>", r"[a](b) | $\x$ `c`")


def test_names_of_classes_are_text(tmp_path):
    scores = Target(MARKUP, (0, 1), classes=True, own=False).score(np.eye(2), np.array([[0.0], [1.0]]))
    stage = StageResults(2, 1, {1: 0.5, 2: 0.6}, ())
    results = AdaptationResults(
        model="<b>", weights="<i>.caffemodel", head_is_new=True, names=MARKUP, persons={"test": ("p",)}, split=None,
        faces={"test": FacesFound(2, 0, (), ())}, stages={"frozen": stage, "unfrozen": stage},
        scores={"test": {"constant": scores, "frozen": scores, "adapted": scores}},
    )  # fmt: skip
    write_report(results, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "<" not in text
    assert "| &lt;script&gt;alert(1)&lt;/script&gt; | 1 |" in text
    assert r"| \[a\](b) \| $\\x$ \`c\` | 1 |" in text
    assert cv2.imread(str(tmp_path / "confusion.png")) is not None
