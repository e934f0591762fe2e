"""Control characters in the names of layers and blobs are escaped in terminals, logs and diagrams."""

import re
import xml.etree.ElementTree as ET

import pytest

from caffe_compat.cli import main

EVIL = (
    r"a\033[2J\007\n\302\233b\342\200\256"  # clears the screen, rings, ends the line, CSI in one character, turns round
)
NET = f"""
name: "{EVIL}"
layer {{ name: "in" type: "Input" top: "{EVIL}" input_param {{ shape {{ dim: 1 dim: 3 dim: 9 dim: 9 }} }} }}
layer {{ name: "{EVIL}" type: "Pooling" bottom: "{EVIL}" top: "p" pooling_param {{ kernel_size: 2 stride: 2 }} }}
layer {{ name: "{EVIL}x" type: "ReLU" bottom: "p" top: "p" }}
layer {{ name: "{EVIL}y" type: "Log" bottom: "p" top: "p" }}
"""
SHOWN = r"a\x1b[2J\x07\n\x9bb\u202e"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e]")


@pytest.fixture
def folder(folder):
    (folder / "net.prototxt").write_text(NET)
    (folder / "wrong.prototxt").write_text(NET.replace("kernel_size: 2", "kernel_size: 0"))
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["lint", "net.prototxt"],
        ["lint", "wrong.prototxt"],
        ["show", "net.prototxt"],
        ["show", "wrong.prototxt"],
        ["time", "-model", "net.prototxt", "-iterations", "1", "-phase", "TEST"],
        ["diff", "net.prototxt", "wrong.prototxt"],
    ],
    ids=" ".join,
)
def test_names_cannot_control_the_terminal_or_the_log(folder, capsys, arguments):
    main(arguments)
    streams = capsys.readouterr()
    text = streams.out + streams.err
    assert "[2J" in text
    assert CONTROL.findall(text) == []


@pytest.mark.parametrize("file", ["net.svg", "net.dot"])
def test_diagrams_show_escapes_and_are_well_formed(folder, file):
    assert main(["draw", "net.prototxt", file]) == 0
    text = (folder / file).read_text(encoding="utf-8")
    assert CONTROL.findall(text) == []
    assert SHOWN.replace("\\", r"\\" if file == "net.dot" else "\\") in text
    if file == "net.svg":
        ET.fromstring(text)
