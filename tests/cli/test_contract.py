"""The contract of all commands: exit codes, a line for each problem, JSON alone on stdout, files left as they were."""

import json
import shlex

import cv2
import numpy as np
import pytest
import torch

from caffe_compat.cli import main
from caffe_compat.cli.parser import COMMANDS
from lq_emotion.prototxt import path as definition
from tests.solver.case import NET, write_case

CNN_D = definition("experiments/network/model_1F_CNN+D.prototxt")
BN = """layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4 dim: 2 dim: 2 } } }
layer { name: "bn" type: "BN" bottom: "x" top: "y" }"""
TOP = 'layer { name: "top" type: "InnerProduct" bottom: "ip" top: "top" inner_product_param { num_output: 1 } }\n'
LOSS = 'layer { name: "loss"'


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a trained net and files of every kind, whole and damaged."""
    folder = tmp_path_factory.mktemp("contract")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_case(folder)
        assert main(["train", "--solver=solver.prototxt", "--max_iter=2", "--log=train.log"]) == 0
        (folder / "images").mkdir()
        cv2.imwrite("images/a.png", np.zeros((6, 8, 3), np.uint8))
        cv2.imwrite("images/b.png", np.zeros((5, 8, 3), np.uint8))
        for name, lines in {
            "good": "a.png 0\na.png 1\n",
            "sizes": "a.png 0\nb.png 1\n",
            "gone": "gone.png 0\n",
            "two": "a.png 0\nb.png\n",
        }.items():
            (folder / f"{name}.txt").write_text(lines)
        assert main(["convert_imageset", "images/", "good.txt", "db"]) == 0
        assert main(["convert_imageset", "images/", "sizes.txt", "sizes"]) == 0
    more = NET.replace('bottom: "ip" bottom: "label"', 'bottom: "top" bottom: "label"').replace(LOSS, TOP + LOSS)
    for name, text in {
        "typo.prototxt": NET.replace("EuclideanLoss", "EuclidLoss"),
        "more.prototxt": more,
        "other.prototxt": NET.replace('"ip"', '"fc"'),
        "two.prototxt": NET.replace("num_output: 1", "num_output: 1 bias_term: false").replace(" param { lr_mult: 2 decay_mult: 0 }", ""),
        "bn.prototxt": BN,
        "broken.prototxt": 'layer { name: "a" ',
        "no_data.prototxt": NET.replace('source: "', 'source: "gone/'),
        "empty.log": "nothing\n",
        "shapes.txt": "a/* data=1\n* data\n",
    }.items():  # fmt: skip
        (folder / name).write_text(text)
    (folder / "bad.pt").write_bytes(b"PK\x03\x04 and no more")
    torch.save({"ip.weight": torch.zeros(1, 3), "ip.biass": torch.zeros(1)}, folder / "other.pt")
    torch.save([1, 2], folder / "list.pt")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def folder(files, monkeypatch):
    monkeypatch.chdir(files)
    return files


def contents(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


TRAIN = "train --solver=solver.prototxt"
CONVERT = "convert snap_iter_2.caffemodel"
STORE = "convert_imageset images/"
EXTRACT = "extract_features snap_iter_2.caffemodel net.prototxt"
ERRORS = [
    ("train --solver=gone.prototxt", "gone.prototxt"),
    ("train --solver=train.h5", "train.h5"),
    ("train --solver=net.prototxt", "net.prototxt: "),
    (f"{TRAIN} --snapshot=gone.solverstate", "gone.solverstate"),
    (f"{TRAIN} --snapshot=a --weights=b", "--snapshot = 'a': conflicts with --weights"),
    (f"{TRAIN} --weights=gone.caffemodel", "gone.caffemodel"),
    (f"{TRAIN} --device=tpu0", "--device = 'tpu0'"),
    (f"{TRAIN} --gpu=99", "--gpu = '99'"),
    (f"{TRAIN} --gpu=0,1", "--gpu = '0,1'"),
    (f"{TRAIN} --gpu=all", "--gpu = 'all'"),
    (f"{TRAIN} --gpu=a", "--gpu = 'a'"),
    (f"{TRAIN} --set='base_lrr: 1'", "base_lrr"),
    (f"{TRAIN} --set='base_lr: x'", "base_lr"),
    (f"{TRAIN} --net=two.prototxt --weights=snap_iter_2.caffemodel", "the weights have 2 blobs, the net expects 1"),
    (f"{TRAIN} --net=other.prototxt --weights=snap_iter_2.caffemodel --rename=ipp=fc", "rename = 'ipp=fc': the weights have no such layer (did you mean 'ip'?)"),
    ("test --model=gone.prototxt --weights=snap_iter_2.caffemodel", "gone.prototxt"),
    ("time --model=no_data.prototxt", "--input=BLOB=N,C,H,W"),
    ("device-query -gpu 99", "--gpu = '99'"),
    (f"{CONVERT} w.onx --model=net.prototxt", "w.onx: '.onx'"),
    (f"{CONVERT} gone/w.pt --model=net.prototxt", "gone: folder"),
    (f"{CONVERT} w.pt", "pass --model=FILE"),
    (f"{CONVERT} w.pt --model=more.prototxt", "top.weight, top.bias"),
    ("convert gone.caffemodel w.pt --model=net.prototxt", "gone.caffemodel"),
    ("convert bad.pt w.caffemodel --model=net.prototxt", "bad.pt"),
    ("convert list.pt w.caffemodel --model=net.prototxt", "list.pt"),
    ("convert other.pt w.caffemodel --model=net.prototxt", "did you mean 'ip.biass'?"),
    ("convert train.h5 w.pt --model=net.prototxt", "train.h5"),
    ("convert net.prototxt w.pt --model=net.prototxt", "net.prototxt"),
    ("lint", "no file"),
    ("lint gone.prototxt", "gone.prototxt"),
    ("lint net.prototxt --ignore=batch-norm", "--ignore = 'batch-norm'"),
    ("survey gone", "gone: folder does not exist"),
    ("survey shapes.txt", "shapes.txt: is not a folder"),
    ("survey empty", "contains no definition"),
    ("survey . --shapes=shapes.txt", "shapes.txt:2: 'data' is not of the form"),
    ("survey . --shapes=none.txt", "none.txt: cannot be read"),
    ("diff net.prototxt solver.prototxt", "solver.prototxt: is a solver"),
    ("diff net.prototxt gone", "gone: file"),
    ("finetune_report --model=net.prototxt --weights=snap_iter_2.caffemodel --output=w.onx", "w.onx: '.onx'"),
    ("upgrade broken.prototxt x.prototxt", "broken.prototxt:1:"),
    ("upgrade_solver_proto_text net.prototxt x", "net.prototxt"),
    ("upgrade_net_proto_text solver.prototxt x", "solver.prototxt"),
    ("upgrade_net_proto_binary gone x", "gone"),
    ("show typo.prototxt", "did you mean 'EuclideanLoss'?"),
    ("show gone", "gone"),
    ("show solver.prototxt", "solver.prototxt: is a solver"),
    (f"show '{CNN_D}'", "--input=BLOB=N,C,H,W"),
    ("show bn.prototxt", "pspnet, yjxiong, happynear, segnet), as in --fork=pspnet"),
    ("show bn.prototxt --fork=segmet", "unknown fork of Caffe (did you mean 'segnet'?)"),
    ("draw net.prototxt net.bmp", "format = 'bmp'"),
    ("parse_log empty.log", "no iteration of a training run"),
    ("compute_image_mean gone", "gone: database"),
    ("compute_image_mean sizes m", "record '00000001_b.png': image has shape (3, 5, 8)"),
    (f"{STORE} gone.txt x", "no image could be read"),
    (f"{STORE} two.txt x", "two.txt:2: 'b.png'"),
    (f"{STORE} gone.txt x --strict", "gone.png: cannot be read"),
    (f"{STORE} sizes.txt x --check_size", "'b.png': image has shape (5, 8, 3)"),
    (f"{STORE} good.txt x --resize_width=3", "--resize_height is missing"),
    (f"{EXTRACT} ipp f 1 lmdb", "did you mean 'ip'?"),
    (f"{EXTRACT} ip,loss f 1 lmdb", "got 1"),
    (f"{EXTRACT} ip,data f,db 1 lmdb", "db: "),
    (f"{EXTRACT} ip f 1 lmdb GPU 99", "DEVICE_ID = 99"),
    ("extract_features snap_iter_2.caffemodel no_data.prototxt ip f 1 lmdb", "gone/test.txt"),
]  # fmt: skip
"""Command line, and what its error has to contain."""


@pytest.mark.parametrize(("words", "expected"), ERRORS, ids=[words for words, _ in ERRORS])
def test_an_error_is_a_line_for_each_problem_exit_code_1_and_changes_no_file(folder, capsys, words, expected):
    before = contents(folder)
    assert main(shlex.split(words)) == 1
    captured = capsys.readouterr()
    before_error, _, error = captured.err.rpartition("caffe-compat: error: ")
    first, *more = error.splitlines()
    assert "error: " not in before_error
    assert expected in error
    assert not more or first == f"{len(more)} problems:"
    assert captured.out == ""
    assert contents(folder) == before


def test_every_command_that_can_fail_is_among_the_errors():
    assert {words.split()[0].replace("-", "_") for words, _ in ERRORS} == set(COMMANDS) - {"layers"}


USAGE = [
    "", "trian", "train", "train --solver", "train --solver=a --sigint_effect=x", "train --solver=a --solve=b", "test --model=a",
    "test --model=a --weights=b --iterations=0", "show net.prototxt --input=data", "draw net.prototxt net.svg --rankdir=UP",
    "diff net.prototxt net.prototxt --tolerance=-1", f"{EXTRACT} ip f 0 lmdb", *(f"{name} --no_such_flag" for name in COMMANDS),
]  # fmt: skip


@pytest.mark.parametrize("words", USAGE)
def test_wrong_usage_is_exit_code_2(folder, capsys, words):
    assert main(shlex.split(words)) == 2
    assert "usage: caffe-compat" in capsys.readouterr().err


JSON = [
    "time --model=net.prototxt --iterations=1", "device_query", "lint net.prototxt", "survey .", "diff net.prototxt more.prototxt",
    "finetune_report --model=net.prototxt --weights=snap_iter_2.caffemodel", "show net.prototxt", "layers",
]  # fmt: skip


@pytest.mark.parametrize("words", JSON)
def test_json_is_alone_on_stdout(folder, capsys, words):
    assert main([*words.split(), "--json"]) in (0, 1)
    assert json.loads(capsys.readouterr().out)


def test_every_command_with_json_is_among_them(capsys):
    with_json = set()
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
        with_json |= {name} if "--json" in capsys.readouterr().out else set()
    assert {words.split()[0] for words in JSON} == with_json
