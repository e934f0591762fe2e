"""Differences of engines: what counts as agreement; OpenCV's; a genuine Caffe in another process; recorded weights."""

import sys
import textwrap

import numpy as np
import pytest
import torch

from caffe_compat.errors import NetError, WeightsError
from lq_emotion.verify import engines, genuine_caffe
from lq_emotion.verify.engines import compare, fixed_inputs, run_opencv, run_ours
from lq_emotion.verify.genuine_caffe import find_caffe
from lq_emotion.verify.networks import networks, recognise
from lq_emotion.verify.weights import LoadedWeights, digest, load_weights
from tests.records import difference


def differ(ours, theirs, terms=0.0):
    (difference,) = compare({"b": np.float32(ours)}, {"b": np.float32(theirs)}, lambda: {"b": terms})
    return difference


def test_the_limit_is_relative_to_the_largest_magnitude_of_a_blob():
    difference = differ([[0.5, -100.0]], [[0.5009, -100.0]])
    assert difference.relative == pytest.approx(9e-6, rel=1e-3)
    assert difference.at == (0, 0)
    assert difference.agrees
    assert not differ([[0.5, -100.0]], [[0.5011, -100.0]]).agrees
    assert not differ([0.0, 0.0], [0.0, 1e-9]).agrees
    assert differ([0.0, 0.0], [0.0, 0.0]).agrees


def test_a_value_that_is_no_number_or_another_size_never_agrees():
    for bad in (np.nan, np.inf):
        assert not differ([1.0, 2.0], [1.0, bad]).agrees
        assert not differ([1.0, bad], [1.0, 2.0]).agrees
        assert differ([1.0, bad], [1.0, 2.0]).at == (1,)
    assert not differ([np.inf], [np.inf]).agrees
    assert not differ([1.0, 2.0], [1.0]).agrees


def test_sums_that_nearly_cancel_are_compared_with_what_they_are_sums_of():
    assert not differ([1e-3], [1.002e-3], terms=1.0).agrees
    assert differ([1e-3], [1.0009e-3], terms=1.0).agrees
    assert not differ([1e-3], [1.0009e-3], terms=0.1).agrees


def test_an_output_whose_terms_cancel_still_agrees(drawn):
    weights = load_weights("HQ", drawn / "class/HQ.caffemodel")
    network, inputs = recognise(weights), fixed_inputs()[:1]
    output = run_ours(weights, network, inputs, torch.device("cpu"))[0]["fc5"]
    layers = {**weights.layers, "fc5": [weights.layers["fc5"][0], weights.layers["fc5"][1] - output[0]]}
    cancelled = LoadedWeights("HQ", weights.path, "HDF5", layers, None)  # so that OpenCV is given these layers
    ours, terms = run_ours(cancelled, network, inputs, torch.device("cpu"))
    theirs = run_opencv(cancelled, network, inputs)
    difference = compare(ours, theirs, terms)[-1]
    assert difference.blob == "fc5"
    assert difference.largest < 1e-5 < terms()["fc5"]
    assert difference.agrees


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(networks())), ids=[network.name for network in networks()])
def test_opencv_agrees_on_every_network_there_is(number, tmp_path):
    network, rng = networks()[number], np.random.default_rng(number)
    layers = {
        layer: [np.float32(rng.normal(0, 1.4 / np.sqrt(np.prod(shape[1:]) or 1), shape)) for shape in shapes]
        for layer, shapes in network.shapes.items()
    }
    weights, inputs = LoadedWeights("a", tmp_path / "a", "HDF5", layers, None), fixed_inputs()[2:3]
    ours, terms = run_ours(weights, network, inputs, torch.device("cpu"))
    differences = compare(ours, run_opencv(weights, network, inputs), terms)
    assert {difference.blob for difference in differences} == set(ours) - {"data"}
    assert max(difference.relative for difference in differences) <= 1e-5


def test_the_fixed_inputs_are_the_same_everywhere():
    inputs = fixed_inputs()
    assert inputs.shape == (4, 1, 96, 96)
    assert inputs.dtype == np.float32
    assert inputs.min() >= 0
    assert inputs.max() <= 1
    assert np.array_equal(inputs * 65536, np.round(inputs * 65536))
    assert digest(inputs) == "08e7cac4f648df081858608ccab90fd3df9ed10c1ea199bc15ad59a1f7e90835"


def test_opencv_that_is_not_installed_is_one_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(NetError, match="OpenCV, the second engine, cannot be imported"):
        engines.opencv()


# A Caffe for these tests: a package of its name whose _caffe is some compiled module, and whose Net hands out OpenCV's
# blobs, changed or not.
CAFFE = """
import cv2, numpy as np
import numpy._core._multiarray_umath as _caffe
__version__, TEST = "1.0.0-test", 1
def set_mode_cpu(): pass
class _Blob:
    def __init__(self, data): self.data = data
class Net:
    def __init__(self, deploy, weights, phase):
        self._net = cv2.dnn.readNetFromCaffe(deploy, weights)
        self._net.enableFusion(False)
        self.blobs = {{"data": _Blob(np.zeros((4, 1, 96, 96), np.float32))}}
    def forward(self):
        self._net.setInput(self.blobs["data"].data)
        last = dict(conv1="relu1", conv2="relu2", conv3="relu3", fc4="relu4")
        for name in ("conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "fc4", "fc5"):
            self.blobs[name] = _Blob(self._net.forward(last.get(name, name)){change})
"""


@pytest.fixture
def caffe_at(tmp_path, monkeypatch):
    """Put a package of Caffe's name on the path of the processes that are started."""

    def put(text):
        (tmp_path / "python/caffe").mkdir(parents=True)
        (tmp_path / "python/caffe/__init__.py").write_text(textwrap.dedent(text))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "python"), prepend=":")

    return put


def test_without_caffe_the_reason_is_told(monkeypatch):
    caffe = find_caffe()
    assert caffe.version is None
    assert caffe.reason
    with pytest.raises(NetError, match=r"--caffe = '/no/python': cannot be started: No such file"):
        find_caffe("/no/python")
    with pytest.raises(NetError, match="a Python in which `import caffe` works"):
        find_caffe(sys.executable)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not genuine"),
        ("import types; _caffe = types.ModuleType('caffe._caffe')", "is not genuine"),
        (
            "import sys; sys.modules['caffe_compat.pycaffe'] = sys; import numpy._core._multiarray_umath as _caffe",
            "is not genuine",
        ),
        ("raise SystemError('libboost is missing')", "SystemError: libboost is missing"),
        ("import os; os._exit(7)", "exit code 7 while it imports caffe"),
    ],
)
def test_what_only_has_caffes_name_is_no_third_engine(caffe_at, text, says):
    caffe_at(text)
    caffe = find_caffe()
    assert caffe.version is None
    assert says in caffe.reason


def test_a_relative_python_path_still_leads_to_caffe(caffe_at, tmp_path, monkeypatch):
    caffe_at(CAFFE.format(change=""))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "python")
    assert find_caffe().version == "1.0.0-test"


def test_a_file_in_the_working_directory_is_not_taken_for_caffe(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "caffe.py").write_text("import os; os.mkdir('ran')")
    monkeypatch.chdir(tmp_path)
    assert "No module named 'caffe'" in find_caffe().reason
    assert not (tmp_path / "ran").exists()


def test_a_genuine_caffe_is_the_third_engine(caffe_at, folder, verify):
    caffe_at(CAFFE.format(change=""))
    code, result, output = verify(folder)
    assert code == 0, output
    assert result["caffe"] == "1.0.0-test"
    (one_file,) = result["files"]
    assert len(one_file["engines"]["caffe"]) == 8
    assert "Caffe: absolute" in output


def test_a_genuine_caffe_that_disagrees_or_stops_fails(caffe_at, drawn, tmp_path):
    caffe_at(CAFFE.format(change=" + 0.01 * (name == 'fc4')"))
    weights = load_weights("HQ", drawn / "class/HQ.caffemodel")
    network, inputs = recognise(weights), fixed_inputs()
    caffe = find_caffe()
    ours, terms = run_ours(weights, network, inputs, torch.device("cpu"))
    apart = compare(ours, caffe.run(weights, network, inputs), terms)
    assert [blob.blob for blob in apart if not blob.agrees] == ["fc4"]
    package = tmp_path / "python/caffe/__init__.py"
    package.write_text(
        package.read_text().replace("def forward(self):", "def forward(self):\n        raise OSError('no BLAS')")
    )
    with pytest.raises(WeightsError, match="HQ: Caffe cannot run it: OSError: no BLAS"):
        caffe.run(weights, network, inputs)


def test_a_caffe_that_takes_too_long_is_stopped(caffe_at, monkeypatch):
    caffe_at("import time; time.sleep(60)")
    monkeypatch.setattr(genuine_caffe, "_SECONDS", 0.5)
    assert "exit code 124" in find_caffe().reason


RECORDED = {"class/HQ": "CNN+D", "class/vlqr_12": "CNN+D", "recon/SR_12": "SR-FCN"}


def test_recorded_weights_pass_and_opencv_agrees_to_1e_5(recorded, verify):
    code, result, output = verify(recorded)
    assert code == 0
    assert "3 files passed" in output
    assert {file["file"].removesuffix(".caffemodel"): file["network"] for file in result["files"]} == RECORDED
    assert [file["training"] for file in result["files"]] == ["HR or LR", "Joint", None]
    for file in result["files"]:
        assert max(blob["relative"] for blob in file["engines"]["opencv"]) <= 1e-5
    conv1 = [next(blob["sha256"] for blob in file["blobs"] if blob["layer"] == "conv1") for file in result["files"]]
    assert conv1[1] == conv1[2] != conv1[0]  # vlqr's convolutions are the super-resolution net's


@pytest.mark.parametrize(("name", "record"), [("class/HQ", "cnn_d"), ("recon/SR_12", "sr_fcn")])
def test_both_engines_give_what_genuine_caffe_recorded(nets, recorded, name, record):
    weights = load_weights(name, recorded / f"{name}.caffemodel")
    network = recognise(weights)
    with np.load(nets / f"{record}_deploy.npz") as arrays:
        inputs, recorded_output = arrays["in/data"], arrays[f"out/{network.output}"]
    ours, _ = run_ours(weights, network, inputs, torch.device("cpu"))
    theirs = run_opencv(weights, network, inputs)
    for engine, blobs in (("ours", ours), ("OpenCV", theirs)):
        apart = difference(f"{engine} {network.output}", blobs[network.output], recorded_output)
        assert apart.relative <= 1e-5, apart
