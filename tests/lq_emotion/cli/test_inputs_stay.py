"""No command writes over a file that it reads, by its name or by a link."""

import argparse
from pathlib import Path

import pytest

from lq_emotion.cli import _OUTPUTS, parser
from tests.kept_inputs import ALIASES, kept
from tests.lq_emotion.commands import failed

FILES = ("a.mp4", "net.caffemodel", "net.prototxt", "labels.txt", "clips.csv", "frames.csv", "table.csv", "scores.json")
COMMANDS = {
    "degrade": ("a.mp4", "data degrade a.mp4 --out OUT"),
    "calibrate, recording": ("a.mp4", "calibrate a.mp4 --model net.caffemodel --out OUT"),
    "calibrate, weights": ("net.caffemodel", "calibrate a.mp4 --model net.caffemodel --out OUT"),
    "verify": ("net.caffemodel", "verify --weights net.caffemodel --out OUT"),
    "verify --against": ("scores.json", "verify --weights net.caffemodel --against scores.json --out OUT"),
    "verify --cell": ("scores.json", "verify --weights net.caffemodel --cell scores.json=LR-3 --out OUT"),
}


@ALIASES
@pytest.mark.parametrize("name", COMMANDS)
def test_an_input_is_not_replaced(name, alias, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for file in FILES:
        Path(file).write_text(file)
    source, words = COMMANDS[name]
    with kept(source, alias) as out:
        assert "would replace a file that is read" in failed(capsys, *words.replace("OUT", out).split())


@pytest.mark.parametrize("name", ["link.csv", "link.json"])
def test_a_table_in_the_folder_of_results_is_not_replaced(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table = "width,height,fps,codec,qp,kbps,measure,score\n64,64,10,x264,30,20,ccc,0.5\n"
    (tmp_path / "table.csv").write_text(table)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).hardlink_to("table.csv")
    stderr = failed(capsys, "link", "--table", "table.csv", "--out", "out")
    assert "would replace a file that is read" in stderr
    assert (tmp_path / "table.csv").read_text() == (tmp_path / "out" / name).read_text() == table


def test_options_that_name_files_to_write_are_declared():
    def parsers(parser):
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for part in action.choices.values():
                    yield from parsers(part)

    writers = {
        action.dest
        for parser in parsers(parser())
        for action in parser._actions
        if action.help and any(word in action.help for word in ("to write", "folder for", "result file"))
    }
    assert {"out"} <= writers <= {*_OUTPUTS, "overlay"}
