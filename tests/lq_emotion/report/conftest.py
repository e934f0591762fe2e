"""A folder as the other commands leave it, small and made by hand."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from lq_emotion.studies.robust_lq.published import published
from tests.lq_emotion.commands import save_crops

SCORES = {  # rmse, cc, ccc
    ("HR", 1): (0.2, 0.5, 0.4), ("LR", 3): (0.3, None, 0.0), ("Joint-OA", 3): (0.1, 0.6, 0.45),
    ("LR", 12): (0.25, 0.2, 0.15), ("Joint-OA", 12): (0.24, 0.1, 0.05),
}  # fmt: skip


def png(width=40, height=20):
    file = io.BytesIO()
    Image.fromarray(np.arange(width * height, dtype=np.uint8).reshape(height, width)).save(file, format="png")
    return file.getvalue()


def put(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value) if isinstance(value, bytes) else path.write_text(json.dumps(value))


def cell(method, factor, values):
    expected = published(method, factor).to_json()
    measured = dict(zip(("rmse", "cc", "ccc"), values, strict=True))
    run = {"HR": "HR", "Joint-OA": "Joint-OA"}.get(method, f"{method}-{factor}")
    test = "HQ" if method == "HR" else f"LR{factor}"
    return {
        "method": method, "factor": factor, "run": run, "test": test, "scores": f"scores/{run}_on_{test}/scores.json",
        "measured": {**measured, "frames": 1200}, "published": expected,
        "difference": {name: None if value is None else value - expected[name] for name, value in measured.items()},
    }  # fmt: skip


def table(recordings, *, synthetic):
    return {
        "synthetic": synthetic,
        "settings": {
            "recordings": str(recordings), "out": "root", "preset": "small", "seed": 7, "device": "cpu",
            "scales": [3, 12],
        },
        "versions": {"torch": "2.9.9", "av": None},
        "seconds": {"prepare": 61.0, "train HR": 30.0, "train LR-3": 31.5, "score HR on HQ": None},
        "cells": [cell(method, factor, values) for (method, factor), values in SCORES.items()],
    }  # fmt: skip


def rd_point(codec, scale, qp, ccc):
    coded = qp is not None
    return {
        "codec": codec, "scale": scale, "qp": qp, "model": "HR on LR", "bits": 1000 if coded else None,
        "vcl_bits": 900 if coded else None,
        "bpp": 6.4 / qp if coded else None, "vcl_bpp": 6 / qp if coded else None, "psnr": 61.26 - qp if coded else None,
        "score": {"rmse": 0.2, "cc": ccc + 0.1, "ccc": ccc, "frames": 1200},
    }  # fmt: skip


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A folder ROOT with everything but weights; its recordings are synthetic. Not to be changed."""
    tmp_path = tmp_path_factory.mktemp("a report")
    root = tmp_path / "root"
    maker = {"synthetic": True, "train": 2, "dev": 1, "frames": 1500, "size": [320, 240], "seed": 5}
    put(tmp_path / "recordings/synthetic.json", maker)
    put(root / "table/table.json", table(tmp_path / "recordings", synthetic=True))
    put(root / "table/table.png", png())
    for entry in table(tmp_path, synthetic=True)["cells"]:
        folder, measured = root / "scores" / f"{entry['run']}_on_{entry['test']}", entry["measured"]
        results = {
            "weights": "w.caffemodel", "data": "data", "convention": "avec", "delay": 0.0,
            "scores": {"dev_1": measured, "concatenated": measured, "mean": {**measured, "ccc": 0.777}},
            "concatenated_by_convention": dict.fromkeys(("avec", "population", "sample"), measured), "files": ["traces.png"],
        }  # fmt: skip
        put(folder / "scores.json", results)
        put(folder / "traces.png", png(60, 30))
        rows = [f"{k},{k * 0.04:.2f},{np.sin(k / 9):.4f},{np.cos(k / 9):.4f}" for k in range(60) if not 20 < k < 30]
        put(folder / "predictions/dev_1.csv", "\n".join(["frame,time,valence,prediction", *rows]).encode())
    recording = {"name": "dev_1", "status": "done", "rows": 1234, "kept": 1200, "no_face": 30, "small": 4, "held": 5}
    failed = {"name": "dev_2", "status": "failed", "error": "no video", "boxes": ""}
    put(root / "data/prepare.json", {"recordings": [{**recording, "boxes": "found", "error": ""}, failed]})
    changes = ["max_iter: 30000 -> 300", "random_seed: -1 -> 17"]
    run = {"net": "HQ", "iterations": 300, "changes": changes, "seconds": 30.0}
    put(root / "runs/HR/train.json", {**run, "train_loss": {"0": 0.5, "290": 0.0125}, "test_loss": {"300": 0.03}})
    points = [rd_point("none", 3, None, 0.6), rd_point("x264", 3, 20, 0.59), rd_point("x264", 3, 32, 0.3)]
    put(
        root / "rd/rd.json",
        {
            "data": "HQ", "convention": "avec", "delay": 0.0, "recordings": ["dev_1"],
            "frames": None, "fps": 25, "gop": 250, "preset": "medium",
            "versions": {"av": "1.2.3"}, "bpp_published": {"qp": 24, "3": 0.24, "4": 0.4}, "bits_rise_with_qp": [],
            "models": [{"name": "HR on LR", "scale": None, "weights": "a/HR.caffemodel", "sha256": "0123456789abcdef" * 4}],
            "points": points,
        },
    )  # fmt: skip
    put(root / "rd/rd_x264.png", png(80, 20))
    put(root / "rd/rate.png", png(50, 20))
    rows, columns = np.mgrid[:96, :96] / 96
    video = np.stack([0.5 + 0.3 * np.sin(9 * rows + k) * columns for k in range(3)], axis=2)
    save_crops(root / "data/raw_data/HQ/dev_1.mat", video, valence=np.zeros(3))
    return root


@pytest.fixture
def root(whole, tmp_path):
    """The same, to be changed."""
    shutil.copytree(whole.parent, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "root/table/table.json"
    content = json.loads(path.read_text())
    content["settings"]["recordings"] = str(tmp_path / "recordings")
    path.write_text(json.dumps(content))
    return tmp_path / "root"
