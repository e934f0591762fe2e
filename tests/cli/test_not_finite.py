"""Values that are not finite are said once, with their blob or iteration; nothing is refused, as Caffe refuses nothing."""

import json
import re

import numpy as np
import pytest

from caffe_compat import load_net
from caffe_compat.cli import main
from caffe_compat.formats.files import write_weights_h5

SAID = "layer 'ip', blob 0: 1 NaN and 1 infinite of 3 values"


@pytest.fixture
def folder(case):
    weights = np.array([[np.nan, 1, -np.inf]], "f4")
    write_weights_h5(case / "bad.h5", {"ip": [weights, np.zeros(1, "f4")]})
    return case


@pytest.mark.parametrize(
    "argv",
    [
        ["convert", "bad.h5", "bad.caffemodel", "--model=net.prototxt"],
        ["convert", "bad.h5", "bad.pt", "--model=net.prototxt"],
        ["test", "--model=net.prototxt", "--weights=bad.h5", "--iterations=2"],
        ["finetune_report", "--model=net.prototxt", "--weights=bad.h5"],
        ["time", "--model=net.prototxt", "--weights=bad.h5", "--iterations=1", "--phase=TEST"],
        ["train", "--solver=solver.prototxt", "--weights=bad.h5", "--max_iter=1"],
        ["train", "--solver=solver.prototxt", "--weights=bad.h5", "--max_iter=1", "--report"],
    ],
)
def test_non_finite_weights_are_reported_once(folder, capsys, argv):
    assert main(argv) == 0
    err = capsys.readouterr().err
    assert err.count(SAID) == 1
    assert f"bad.h5: {SAID}\n" in err


def test_caffemodels_and_state_dicts_are_checked(folder, capsys):
    assert main(["convert", "bad.h5", "bad.caffemodel", "--model=net.prototxt"]) == 0
    assert main(["convert", "bad.h5", "bad.pt", "--model=net.prototxt"]) == 0
    capsys.readouterr()
    assert main(["convert", "bad.caffemodel", "again.h5"]) == 0
    assert f"bad.caffemodel: {SAID}\n" in capsys.readouterr().err
    assert main(["convert", "bad.pt", "again.h5", "--model=net.prototxt"]) == 0
    assert f"bad.pt: {SAID}\n" in capsys.readouterr().err


def test_the_report_and_lint_name_the_blob(folder, capsys):
    assert main(["finetune_report", "--model=net.prototxt", "--weights=bad.h5", "--json"]) == 0
    blobs = json.loads(capsys.readouterr().out)["not_finite"]
    assert blobs == [{"layer": "ip", "index": 0, "nan": 1, "infinite": 1, "size": 3}]
    assert main(["lint", "net.prototxt", "--weights=bad.h5"]) == 0
    out = capsys.readouterr().out
    assert f"warning: layer 'ip': bad.h5: {SAID} [weights-not-finite]" in out


def test_load_net_warns_and_loads(folder, caplog):
    net = load_net("net.prototxt", "bad.h5")
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [f"bad.h5: {SAID}"]
    assert net.meta["report"].copied == ("ip.weight", "ip.bias")


def test_a_non_finite_loss_is_reported_once_with_iteration_and_blob(folder, capsys):
    argv = ["train", "--solver=solver.prototxt", "--set=base_lr: 1e18 display: 1", "--max_iter=8"]
    assert main(argv) == 0
    err = capsys.readouterr().err
    (said,) = re.findall(
        r"^W.* the loss of iteration (\d+) is (\S+), the first that is not finite \(in loss\)", err, re.MULTILINE
    )
    losses = dict(re.findall(r"Iteration (\d+) .*, loss = (\S+)", err))
    assert losses[said[0]] == said[1] in ("inf", "nan")
    assert all(losses[str(i)] not in ("inf", "-inf", "nan") for i in range(int(said[0])))
    assert "snap_iter_8.caffemodel" in err


def test_a_run_without_display_reports_it(folder, capsys):
    assert main(["train", "--solver=solver.prototxt", "--set=base_lr: 1e18 display: 0", "--max_iter=8"]) == 0
    assert capsys.readouterr().err.count("the first that is not finite") == 1
