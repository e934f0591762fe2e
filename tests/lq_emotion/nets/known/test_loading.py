"""Loading weights by path: recognised, or described by other files."""

import pytest

from caffe_compat.build.net import load_net
from caffe_compat.build.preprocess import Preprocessing, save_preprocessing
from caffe_compat.build.weights import save_weights
from caffe_compat.formats.files import parse_text, write_text
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion import prototxt
from lq_emotion.nets.cnn_d import cnn_d_deploy
from lq_emotion.nets.known.installation import add_model
from lq_emotion.nets.known.loading import load_model, load_parts
from lq_emotion.nets.known.outputs import Dimension, Dimensions, Labels, outputs_text, read_outputs
from lq_emotion.nets.known.store import Store
from tests.refusals import refused

OWN = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 8 dim: 8 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
"""
MINI_XCEPTION = prototxt.path("known/mini-xception.prototxt")
DIMENSIONS = "valence\t-1\t1\tAVEC\narousal\t0\t5\tSAM\n"


@pytest.fixture
def own(tmp_path):
    """Weights of a net that nobody knows, with its definition, preprocessing and labels under other names."""
    net = parse_text(OWN, pb.NetParameter)
    save_weights(load_net(net), tmp_path / "own.caffemodel")
    write_text(net, tmp_path / "deploy.prototxt")
    save_preprocessing(Preprocessing("GRAY", resize=(8, 8)), tmp_path / "pre.caffemodel")
    (tmp_path / "names.txt").write_text(DIMENSIONS)
    return tmp_path


@pytest.fixture
def mini(tmp_path):
    """Weights of mini-XCEPTION, without other files."""
    save_weights(load_net(MINI_XCEPTION), tmp_path / "x.caffemodel")
    return tmp_path / "x.caffemodel"


def files(folder):
    names = {"definition": "deploy.prototxt", "preprocess": "pre.preprocess.json", "labels": "names.txt"}
    return {kind: folder / name for kind, name in names.items()}


def test_recognised_weights_load_by_path(mini, tmp_path):
    model = load_model(mini)
    assert (model.name, model.outputs.names[0], model.weights) == ("mini-xception", "angry", mini)
    assert "FER-2013" in model.limits


def test_the_authors_nets_estimate_valence_of_transposed_crops(tmp_path):
    import numpy as np
    import torch

    save_weights(load_net(cnn_d_deploy()), tmp_path / "HQ.caffemodel")
    model = load_model(tmp_path / "HQ.caffemodel")
    assert model.outputs == Dimensions((Dimension("valence", -1.0, 1.0, "AVEC 2016 gold standard"),))
    assert model.crop.transposed
    white = model.preprocessing(np.full((50, 50, 3), 255, np.uint8))
    assert white.max() == pytest.approx(235 / 255)
    assert model.net(torch.from_numpy(white)[None]).shape == (1, 1)


def test_a_folder_stands_for_its_only_weights(mini, tmp_path):
    model = load_model(tmp_path)
    assert model.weights == mini
    (tmp_path / "y.caffemodel").touch()
    with refused("wrong-count"):
        load_model(tmp_path)


def test_files_beside_recognised_weights_count_more_than_what_is_known(mini, tmp_path):
    (tmp_path / "x.labels.txt").write_text("a\nb\nc\nd\ne\nf\ng\n")
    (tmp_path / "x.crop.json").write_text('{"margin": 0.25}')
    model = load_model(mini)
    assert model.outputs == Labels(tuple("abcdefg"))
    assert model.crop.margin == 0.25


def test_unknown_weights_load_with_the_files_given(own):
    model = load_model(own / "own.caffemodel", **files(own))
    assert (model.name, model.limits) == ("own", "")
    assert model.outputs == Dimensions((Dimension("valence", -1, 1, "AVEC"), Dimension("arousal", 0, 5, "SAM")))


def test_unknown_weights_alone_are_one_error_that_names_what_is_missing(own):
    with refused("field-missing", problem="is not recognised and lacks --preprocess, --labels"):
        load_model(own / "own.caffemodel", definition=own / "deploy.prototxt")


def test_as_many_labels_as_outputs_are_needed(own):
    (own / "names.txt").write_text("a\nb\nc\n")
    with refused("wrong-count", field="labels"):
        load_model(own / "own.caffemodel", **files(own))


@pytest.mark.parametrize(
    ("load", "name", "code", "hint"),
    [
        (load_model, "mini-xeption", "name-unknown", "mini-xception"),
        (
            load_model,
            "mini-xception",
            "not-prepared",
            "lq-emotion models get mini-xception",
        ),  # though a folder has its name
        (load_parts, "mtcnn", "not-prepared", "lq-emotion models get mtcnn"),
        (load_model, "MTCNN", "invalid", ""),
        (load_model, "./x.caffemodel", "file-missing", ""),
    ],
)
def test_what_cannot_be_loaded_is_refused(load, name, code, hint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini-xception").mkdir()
    with refused(code, hint=hint):
        load(name, home=tmp_path / "home")


def test_an_added_model_loads_by_name(own, tmp_path):
    home = tmp_path / "home"
    name, folder = add_model(own / "own.caffemodel", Store(home), name="mine", margin=0.2, **files(own))
    assert (name, folder) == ("mine", home / "models" / "mine")
    model = load_model("mine", home=home)
    assert (model.name, model.crop.margin, model.outputs.names) == ("mine", 0.2, ("valence", "arousal"))
    assert model.preprocessing.resize == (8, 8)


@pytest.mark.parametrize("name", [None, "mine"])
def test_recognised_weights_are_added_under_their_name_or_one_of_their_own_with_its_labels(name, mini, tmp_path):
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\nf\ng\n")
    options = {"name": name, "labels": tmp_path / "names.txt"} if name else {}
    added, _ = add_model(mini, Store(tmp_path / "home"), **options)
    assert added == (name or "mini-xception")
    assert load_model(added, home=tmp_path / "home").outputs.names[3] == ("d" if name else "happy")


def test_the_nets_of_a_detector_are_added_one_by_one(tmp_path):
    store = Store(tmp_path / "home")
    save_weights(load_net(prototxt.path("known/det1.prototxt")), tmp_path / "p.caffemodel")
    add_model(tmp_path / "p.caffemodel", store)
    add_model(tmp_path / "p.caffemodel", store)
    assert list(store.weights("mtcnn")) == ["det1"]


@pytest.mark.parametrize(
    ("options", "code", "field"),
    [
        ({"name": "mini-xception"}, "mismatch", "--name"),
        ({}, "field-missing", "--name"),
        ({"name": "a/b"}, "invalid", "name"),
        ({"name": "mine", "margin": float("nan")}, "out-of-range", "--margin"),
    ],
)
def test_weights_that_cannot_be_added(options, code, field, own, tmp_path):
    with refused(code, field=field):
        add_model(own / "own.caffemodel", Store(tmp_path / "home"), **files(own), **options)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("valence\t-1\t1\n", "syntax", 1),
        ("a\t0\t1\tx\nb\n", "syntax", 2),
        ("a\t1\t1\tx\n", "out-of-range", 1),
        ("", "empty", 1),
    ],
)
def test_a_file_of_labels_that_cannot_be_used(text, code, line, tmp_path):
    (tmp_path / "labels.txt").write_text(text)
    with refused(code, line=line):
        read_outputs(tmp_path / "labels.txt")


@pytest.mark.parametrize("text", ["happy\nsad\n", "valence\t-1.0\t1.0\tAVEC\n"])
def test_labels_are_written_as_they_are_read(text, tmp_path):
    (tmp_path / "labels.txt").write_text(text)
    assert outputs_text(read_outputs(tmp_path / "labels.txt")) == text
