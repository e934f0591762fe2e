"""caffe-compat finetune_report, and train with weights that are renamed, reshaped or skipped."""

import json

import numpy as np
import pytest

from caffe_compat.build.weights import read_weights
from caffe_compat.cli import main
from tests.solver.case import NET


@pytest.fixture
def folder(case, capsys):
    assert main(["train", "--solver=solver.prototxt", "--max_iter=2"]) == 0
    (case / "new.prototxt").write_text(NET.replace('"ip"', '"head"'))
    more = (
        'layer { name: "more" type: "InnerProduct" bottom: "data" top: "more" inner_product_param { num_output: 2 } }\n'
    )
    (case / "wide.prototxt").write_text(NET.replace("num_output: 1", "num_output: 1 axis: 1") + more)
    capsys.readouterr()
    return case


def report(capsys, *argv, code=0):
    assert main(["finetune-report", "--weights=snap_iter_2.caffemodel", *argv]) == code
    captured = capsys.readouterr()
    return captured.out if code in (0, 1) and captured.out else captured.err


def test_the_report_lists_the_outcome_of_each_blob(folder, capsys):
    lines = report(capsys, "--model=new.prototxt").splitlines()
    assert [line.split() for line in lines[1:3]] == [
        ["head.weight", "1x3", "left", "at", "its", "filler:", "not", "in", "the", "file"],
        ["head.bias", "1", "left", "at", "its", "filler:", "not", "in", "the", "file"],
    ]
    assert lines[3].startswith("(ip)")
    assert lines[-1] == (
        "0 blobs copied (0 of 4 values, 0.0 %), 2 left at their fillers, 0 layers mismatched, "
        "1 layers of the file unused"
    )
    assert report(capsys, "--model=new.prototxt", "--strict", code=1)
    lines = report(capsys, "--model=new.prototxt", "--rename", "ip=head", "--strict").splitlines()
    assert lines[1].split() == ["head.weight", "1x3", "copied", "from", "ip"]
    assert lines[-1].startswith("2 blobs copied (4 of 4 values, 100.0 %)")


def test_the_report_can_be_json(folder, capsys):
    result = json.loads(report(capsys, "--model=wide.prototxt", "--json"))
    assert result["copied"] == ["ip.weight", "ip.bias"]
    assert result["left_at_filler"] == ["more.weight", "more.bias"]


def test_the_adapted_weights_can_be_written(folder, capsys):
    report(capsys, "--model=new.prototxt", "--rename=ip=head", "--output=start.caffemodel")
    old, new = read_weights("snap_iter_2.caffemodel"), read_weights("start.caffemodel")
    assert np.array_equal(old["ip"][0], new["head"][0])


def test_training_accepts_renamed_weights_and_reports_them(folder, capsys):
    argv = ["train", "--solver=solver.prototxt", "--net=new.prototxt", "--weights=snap_iter_2.caffemodel"]
    argv += ["--max_iter=0", "--set=snapshot: 1", "--snapshot_prefix=out"]
    assert main([*argv, "--rename=ip=head", "--report"]) == 0
    err = capsys.readouterr().err
    assert "head.weight 1x3: copied from ip" in err
    assert "2 blobs copied (4 of 4 values, 100.0 %)" in err


def test_training_fails_on_mismatched_layers_unless_they_are_skipped(folder, capsys):
    (folder / "two.prototxt").write_text(
        NET.replace("num_output: 1", "num_output: 1 bias_term: false").replace(
            " param { lr_mult: 2 decay_mult: 0 }", ""
        )
    )
    argv = [
        "train",
        "--solver=solver.prototxt",
        "--net=two.prototxt",
        "--weights=snap_iter_2.caffemodel",
        "--max_iter=1",
    ]
    assert main([*argv, "--skip_mismatched"]) == 0
    assert "0 blobs copied (0 of 3 values, 0.0 %), 1 left at their fillers, 1 layers mismatched" in (
        capsys.readouterr().err
    )
