"""The chain of calls from prototxt to module is the one that docs/architecture.md lists."""

import re
import sys
from collections import Counter
from pathlib import Path

import caffe_compat
from caffe_compat import load_net, save_weights
from lq_emotion.prototxt import path

PACKAGE = Path(caffe_compat.__file__).parent
DEPLOY = path("matlabscripts/recon/deploy/model_1F_CNN+D.prototxt")


def test_load_net_visits_each_function_of_the_list_once_and_in_order(tmp_path):
    text = (PACKAGE.parent / "docs/architecture.md").read_text(encoding="utf-8")
    section = text.split("\n## ")[1]
    listed = re.findall(r"^ *\d+\. `([\w/]+\.py:\w+)`", section, re.MULTILINE)
    save_weights(load_net(DEPLOY, seed=0), tmp_path / "w.caffemodel")
    calls: list[str] = []

    def record(frame, event, _arg):
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(PACKAGE):
            calls.append(f"{file.relative_to(PACKAGE).as_posix()}:{frame.f_code.co_name}")

    sys.setprofile(record)
    try:
        load_net(DEPLOY, tmp_path / "w.caffemodel")
    finally:
        sys.setprofile(None)
    counts = Counter(calls)
    twice = "definition/upgrade.py:upgrade_net"  # a caffemodel is a net of some age as well
    assert {name: counts[name] for name in listed} == {name: 1 + (name == twice) for name in listed}
    assert listed == sorted(listed, key=calls.index)
