"""JSON that commands leave, small and whole, what reads it, and how it is made misshapen."""

import copy
import json
import random
from pathlib import Path

from caffe_compat.errors import CaffeCompatError
from lq_emotion.common.document import Report, Section
from lq_emotion.common.json_files import contents_of
from lq_emotion.crops.recording import JOURNALS, earlier_outcome, journal_of
from lq_emotion.report import open_questions, provenance, results, traces
from lq_emotion.report.build import write_report
from lq_emotion.report.parts import Absent
from lq_emotion.report.results import rate_distortion
from lq_emotion.studies.robust_lq.rate_distortion import rate
from lq_emotion.studies.robust_lq.store import Store
from lq_emotion.training.plateau import read_losses
from lq_emotion.verify.comparison import compare
from lq_emotion.verify.settings import PASSED, VerifiedFile, read_signed
from lq_emotion.workflow.stages import Ledger, Stage
from tests.signing import signed

ODD = (None, True, -1, 0, 2**70, 1e400, "", "é", "\ud800", "3", [], {}, [[]], [None], {"a": 1}, [5, "x"])
PARTS = (
    results.table_1, traces.traces, rate_distortion, results.evaluations, provenance.settings, provenance.recordings,
    provenance.trainings, open_questions.disagreements, open_questions.not_verified,
)  # fmt: skip

_MEASURED = {"rmse": 0.2, "cc": 0.5, "ccc": 0.4, "frames": 12}
_POINT = {"codec": "x264", "scale": 3, "qp": 24, "model": "HR", "bits": 9, "vcl_bits": 7, "psnr": 31.5}
_FILE = {
    "file": "HQ.caffemodel", "verdict": PASSED, "bytes": 9, "sha256": "ab", "network": "CNN+D", "training": None, "scores": [],
    "blobs": [{"layer": "conv1", "index": 0, "shape": [2], "sha256": "cd", "largest": 2.0, "rms": 1.5}],
    "probe": {"blob": "fc5", "inputs": "ef", "values": [1.0, -2.0]}, "problems": [], "remarks": [],
    "engines": {"opencv": [{"blob": "fc5", "absolute": 2e-7, "relative": 1e-7, "largest": 2.0, "at": [0], "agrees": True}],
                "caffe": None},
}  # fmt: skip
GOOD = {
    "table/table.json": {
        "synthetic": False,
        "settings": {
            "recordings": "recordings", "out": "root", "preset": "small", "max_factor": 12, "mixture": [3, 4],
            "seed": 7, "device": "cpu", "scales": [3, 4], "switches": {"loss": "mse"}, "coded": {"qps": [24]},
            "partitions": {"chosen": {"dev_1": "dev"}, "complete": ["dev"]},
        },
        "versions": {"torch": "2.9.9", "av": None}, "seconds": {"prepare": 61.0, "train HR": None},
        "cells": [
            {"method": method, "factor": factor, "run": "HR", "test": "HQ", "scores": "scores/HR_on_HQ/scores.json",
             "measured": _MEASURED,
             "published": None, "difference": None} for method, factor in (("HR", 1), ("LR", 3), ("LR", 4))
        ],
    },
    "scores/HR_on_HQ/scores.json": {
        "weights": "w", "data": "d", "convention": "avec",
        "scores": {"concatenated": _MEASURED, "mean": _MEASURED}, "delay": 0.4, "post_processing": None,
        "concatenated_by_convention": dict.fromkeys(("population", "sample"), _MEASURED), "labels": "valence",
    },
    "runs/HR/train.json": {
        "net": "HQ", "iterations": 300, "changes": ["max_iter: 9 -> 3", "random_seed: -1 -> 17"], "seconds": 30.0,
        "train_loss": {"0": 0.5}, "test_loss": {"300": 0.03},
    },
    "rd/rd.json": {
        "data": "HQ", "convention": "avec", "delay": 0.0, "recordings": ["dev_1"],
        "fps": 25, "gop": 250, "preset": "medium", "versions": {"av": "1"},
        "bpp_published": {"qp": 24, "3": 0.24}, "bits_rise_with_qp": [],
        "models": [{"name": "HR", "scale": None, "weights": "HR.caffemodel", "sha256": "0123"}],
        "points": [{**_POINT, "bpp": 0.3, "vcl_bpp": 0.2, "score": _MEASURED}],
    },
    "data/prepare.json": {
        "recordings": [
            {"name": "dev_1", "status": "done", "rows": 12, "kept": 9, "no_face": 2, "small": 1, "held": 0,
             "boxes": "found", "error": ""},
            {"name": "dev_2", "status": "failed", "error": "no video", "boxes": ""},
        ],
    },
    "synthetic.json": {"synthetic": True, "train": 2, "dev": 1, "frames": 50, "size": [160, 160], "seed": 5},
    "verify.json": {
        "program": "lq-emotion verify", "format": 1, "date": "2026-01-01", "limit": 1e-5, "verdict": PASSED,
        "versions": {"torch": "2.9.9", "av": None}, "device": "cpu",
        "images": ["noise"], "shape": [1, 1, 96, 96], "inputs": "ef",
        "opencv": "4.9", "caffe": None, "caffe_absent": "not there", "files": [_FILE], "problems": [],
    },
    str(JOURNALS / "dev_1.json"): {
        "done": {"recording": {"fingerprint": "ab", "files": {"data/bbox/dev_1.mat": ["dev_1.mat", 1, 2]}},
                 "boxes": {"fingerprint": "cd", "files": {}, "held": 0, "source": "found"}},
        "outcome": {"name": "dev_1", "status": "done", "rows": 12, "kept": 9, "no_face": 2, "small": 1, "held": 0,
                    "boxes": "found", "seconds": 1.5, "error": ""},
    },
    "ledger.json": {
        "done": {"one": {"fingerprint": "ab", "files": {"a": "cd"}, "seconds": 1.5}},
        "hashes": {"a": [3, 4, "cd"]},
    },
    "plateau.json": {"10": 0.5, "20": 0.25},
    "cells/s3_x264_qp24/dev_1.json": {
        "frames": 2, "height": 3, "width": 4, "total_bits": 99, "vcl_bits": 77, "bits_by_nal_type": {"1": 77},
        "psnr": 31.5, "stream_sha256": "ab",
    },
}  # fmt: skip


def misshapen(good: dict, rng: random.Random) -> dict:
    """Return a copy with a value at any depth left out or replaced by one of another kind."""
    root = copy.deepcopy(good)
    inside = root
    while True:
        key = rng.choice(sorted(inside) if isinstance(inside, dict) else range(len(inside)))
        if not isinstance(inside[key], dict | list) or not inside[key] or rng.random() < 0.3:
            break
        inside = inside[key]
    if rng.random() < 0.2:
        del inside[key]
    else:
        inside[key] = rng.choice(ODD)
    return root


def write(name: str, content: dict, root: Path) -> Path:
    """Write a file below ROOT."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == "verify.json":
        try:
            path.write_text(json.dumps(signed(content)))
        except ValueError:  # what cannot be hashed
            path.write_text(json.dumps(content))
    else:
        path.write_text(json.dumps(content))
    return path


def use(name: str, root: Path) -> bool:
    """Let what reads a file read it; whether it is taken. What is refused is refused with the file's name."""
    errors = [error for error in map(str, _errors(name, root)) if error]
    for error in errors:
        if Path(name).name not in error:
            raise RuntimeError(f"an error without the file's name: {error}")
    return not errors


def _errors(name: str, root: Path):
    path = root / name
    try:
        if name == "ledger.json":
            ledger = Ledger(path)
            ledger.is_done(Stage("one", print, {}))
            ledger.seconds("one")
        elif name == "plateau.json":
            read_losses(path, 15)
        elif name == str(JOURNALS / "dev_1.json"):
            journal = journal_of(root, "dev_1")
            journal.is_done("recording", "ab")
            earlier_outcome(journal)
        elif name.startswith("cells/"):
            rate([path])
        elif name == "verify.json":
            with contents_of(path):
                compare([VerifiedFile.from_json(_FILE)], read_signed(path).files, limit=1e-4)
    except CaffeCompatError as error:
        yield error
    for part in PARTS:
        try:
            blocks = tuple(part(Store(root)))
        except Absent:
            continue
        except CaffeCompatError as error:
            yield error
        else:
            report = Report("", (), (Section("", blocks),))
            write_report(report, root)


def write_all(root: Path) -> None:
    """Write all files, whole."""
    for name, content in GOOD.items():
        write(name, content, root)
