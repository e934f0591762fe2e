"""The weights recorded from genuine Caffe, under the authors' names: they pass, and the engines agree."""

import json

import numpy as np
import pytest
import torch

from lq_emotion.cli import main
from lq_emotion.verify.engines import run_opencv, run_ours
from lq_emotion.verify.networks import recognise
from lq_emotion.verify.weights import load_weights
from tests.records import difference

NETWORKS = {"class/HQ": "CNN+D", "class/vlqr_12": "CNN+D", "recon/SR_12": "SR-FCN"}


def test_recorded_weights_pass_and_opencv_agrees_to_1e_5(recorded, tmp_path, capsys):
    out = tmp_path / "verify.json"
    assert main(["verify", "--weights", str(recorded), "--out", str(out), "--device=cpu"]) == 0
    assert "3 files passed" in capsys.readouterr().out
    result = json.loads(out.read_text())
    assert {file["file"].removesuffix(".caffemodel"): file["network"] for file in result["files"]} == NETWORKS
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
