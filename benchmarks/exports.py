"""Differences between exports of recorded nets and layers and genuine Caffe, and the cost of 8 bits, in Markdown.

    python benchmarks/exports.py [--reference DIR] [--only nets|layers|int8]

A difference is the largest of all outputs, relative to each output's largest magnitude. Layers and the authors'
nets are those recorded in tests/golden; DIR holds published nets and images. ONNX models are run by onnxruntime, the
others by torch. Sizes and times of int8 are those of one image on one thread, times medians of runs in turns.
"""

import argparse
import atexit
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import skimage
import torch

from caffe_compat import CaffeNet, Preprocessing, load_net, load_safetensors
from caffe_compat.errors import CaffeCompatError, ProblemsError
from caffe_compat.export import FORMATS, export
from caffe_compat.export.int8 import to_int8
from lq_emotion.prototxt import path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.golden_nets import GOLDEN, unpack_nets  # noqa: E402

DEPLOY = "matlabscripts/recon/deploy/"
AUTHORS = {
    "CNN+D": ("cnn_d", "model_1F_CNN+D.prototxt"),
    "SR-FCN": ("sr_fcn", "SRCNN_net.prototxt"),
}
PUBLISHED = {  # title: record, definition and weights
    "mini-XCEPTION": ("mini_xception_deploy", "mini_xception/deploy", "mini_xception/weights"),
    "MTCNN det1": ("mtcnn_det1", "mtcnn/det1", "mtcnn/det1"),
    "MTCNN det2": ("mtcnn_det2", "mtcnn/det2", "mtcnn/det2"),
    "MTCNN det3": ("mtcnn_det3", "mtcnn/det3", "mtcnn/det3"),
    "MTCNN det4": ("mtcnn_det4", "mtcnn/det4", "mtcnn/det4"),
    "libfacedetection v1 (SSD)": ("libfacedetection_v1", "libfacedetection/v1", "libfacedetection/v1"),
    "libfacedetection v2 (SSD)": ("libfacedetection_v2", "libfacedetection/v2", "libfacedetection/v2"),
    "Ultra-Light RFB-320": ("ultra_light_RFB-320", "ultra_light/RFB-320", "ultra_light/RFB-320"),
    "Ultra-Light slim-320": ("ultra_light_slim-320", "ultra_light/slim-320", "ultra_light/slim-320"),
}
FACES = Preprocessing("GRAY", (64, 64), None, 2 / 255, np.ones(1, np.float32))
IMAGES = {  # title: how its images are prepared
    "MTCNN det1": Preprocessing("RGB", (96, 96), None, 1.0, np.full(3, 127.5, np.float32), 1 / 128),
    "MTCNN det2": Preprocessing("RGB", (24, 24), None, 1.0, np.full(3, 127.5, np.float32), 1 / 128),
    "MTCNN det3": Preprocessing("RGB", (48, 48), None, 1.0, np.full(3, 127.5, np.float32), 1 / 128),
    "Ultra-Light slim-320": Preprocessing(
        "RGB", (240, 320), None, 1.0, np.full(3, 127, np.float32), 1 / 128, input="input"
    ),
    "libfacedetection v1 (SSD)": Preprocessing("BGR", (240, 320), None, 1.0, np.array([104, 117, 123], np.float32)),
}
TURNS = 31

Blobs = dict[str, np.ndarray]


def session(file: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def answer(net: CaffeNet, to: str, folder: Path, inputs: Blobs) -> Blobs:
    """Write an export and return what its consumer answers."""
    file = folder / ("net.py" if to == "python" else f"net.{to}")
    export(net, file, to)
    if to == "onnx":
        run = session(file)
        names = [value.name for value in run.get_outputs()]
        given = {value.name: inputs[value.name].astype(np.float32) for value in run.get_inputs()}
        return dict(zip(names, run.run(names, given), strict=True))
    if to == "pt2":
        module = torch.export.load(file).module()
    elif to == "python":
        spec = importlib.util.spec_from_file_location("net", file)
        source = sys.modules["net"] = importlib.util.module_from_spec(spec)  # dataclasses look there
        spec.loader.exec_module(source)
        module = source.load()
    else:
        module = load_safetensors(file)
    with torch.no_grad():
        tops = module(*(torch.from_numpy(inputs[blob]) for blob in net.inputs))
    tops = tops if isinstance(tops, dict) else {net.returns[0]: tops}
    return {blob: top.numpy() for blob, top in tops.items()}


def difference(top: np.ndarray, values: np.ndarray, places: np.ndarray | None) -> float:
    """Return the largest difference from recorded values, which may be those of some places; NaN equals NaN."""
    top = np.nan_to_num(top.ravel())
    gap = np.abs(top[places if places is not None else slice(None)] - np.nan_to_num(values.ravel()))
    return float(gap.max(initial=0)) / max(float(np.abs(top).max(initial=0)), 1e-3)


def cells(net: CaffeNet, inputs: Blobs, recorded: dict[str, tuple[np.ndarray, np.ndarray | None]]) -> list[str]:
    """Return for each format the largest difference, or the layer types that are refused."""
    out = []
    for to in FORMATS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                tops = answer(net, to, Path(folder), inputs)
            except CaffeCompatError as error:
                problems = error.problems if isinstance(error, ProblemsError) else (error,)
                out.append("refused: " + ", ".join(dict.fromkeys(str(problem.value) for problem in problems)))
                continue
        worst = max(difference(top, *recorded[blob]) for blob, top in tops.items())
        out.append(f"{worst:.1e}" if worst else "0")
    return out


def print_table(heads: list[str], rows: Iterator[list[str]]) -> None:
    print("|", " | ".join(heads), "|")
    print("|" + "---|" * len(heads))
    for row in rows:
        print("|", " | ".join(row), "|", flush=True)
    print()


@cache
def authors_nets() -> Path:
    """Return a folder of the authors' nets with weights and data, which is there until the program ends."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    unpack_nets(Path(folder.name))
    return Path(folder.name)


def load(title: str, reference: Path) -> CaffeNet:
    if title in AUTHORS:
        name, definition = AUTHORS[title]
        return load_net(path(DEPLOY + definition), authors_nets() / f"{name}.caffemodel")
    _, definition, weights = PUBLISHED[title]
    return load_net(
        reference / "published" / f"{definition}.prototxt", reference / "published" / f"{weights}.caffemodel"
    )


def nets(reference: Path) -> Iterator[list[str]]:
    for title in (*AUTHORS, *PUBLISHED):
        net = load(title, reference)
        if title in AUTHORS:
            file = authors_nets() / f"{AUTHORS[title][0]}_deploy.npz"
        else:
            file = reference / "published" / f"{PUBLISHED[title][0]}.caffe.npz"
        by_caffe = file.is_file()
        with np.load(file if by_caffe else file.with_name(f"{PUBLISHED[title][0]}.cv2.npz")) as record:
            data = [record[key] for key in record.files if key.startswith("in/")]
            whole = {key[4:]: (record[key], None) for key in record.files if key.startswith("out/")}
            names = [key[11:] for key in record.files if key.startswith("out_sample/")]
            parts = {name: (record[f"out_sample/{name}"], record[f"out_index/{name}"]) for name in names}
        inputs = dict(zip(net.inputs, data, strict=True))
        yield [title + ("" if by_caffe else ", compared with OpenCV"), *cells(net, inputs, whole | parts)]


def layers() -> Iterator[list[str]]:
    ssd = GOLDEN / "forks" / "ssd"
    for case in [*(GOLDEN / "layers").iterdir(), *ssd.iterdir()]:
        settings = json.loads((case / "case.json").read_text())
        reason = "recorded in training" if settings["phase"] != "TEST" else ""
        reason = reason or ("recorded after several passes" if settings["forwards"] > 1 else "")
        try:
            fork = "ssd" if case.parent == ssd else None
            net = load_net(case / "net.prototxt", case / "weights.caffemodel", losses=True, fork=fork)
        except CaffeCompatError as error:
            problems = error.problems if isinstance(error, ProblemsError) else (error,)
            reason = f"no such type here: {problems[0].value}"
        if reason:
            yield [case.name, *[reason] * len(FORMATS)]
            continue
        with np.load(case / "record.npz") as record:
            inputs = {blob: record[f"in/{blob}"] for blob in net.inputs}
            yield [case.name, *cells(net, inputs, {k[4:]: (record[k], None) for k in record.files if k[:4] == "out/"})]


def grouped(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """Yield a row for all records of which the same is to be said, beside those with figures of their own."""
    refused: dict[tuple[str, ...], list[str]] = {}
    for name, *values in sorted(rows):
        figures = [float(value) if value[0].isdigit() else value for value in values]
        if all(isinstance(value, float) for value in figures) and max(figures) < 5e-7:
            values = ["below 5e-7"] * len(values)
        refused.setdefault(tuple(values), []).append(name)
    for values, names in refused.items():
        yield [", ".join(names), *values]


def int8(reference: Path) -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        faces = Path(folder) / "faces.npy"
        lfw = np.load(Path(skimage.__file__).with_name("data") / "lfw_subset.npy")[:100]  # the others show no faces
        np.save(faces, [FACES((face * 255).round().astype(np.uint8)) for face in lfw])
        drawn = authors_nets() / "faces.h5"
        given = {"mini-XCEPTION": faces, "CNN+D": drawn, "SR-FCN": drawn} | dict.fromkeys(IMAGES, reference / "images")
        for title, samples in given.items():
            net = load(title, reference)
            net.meta["preprocessing"] = IMAGES.get(title)
            whole, small = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
            export(net, whole, "onnx")
            report = to_int8(net, small, samples)
            shape = net.caffe.shapes[net.inputs[0]]
            size = IMAGES[title].resize if title in IMAGES else shape[2:]
            x = np.random.default_rng(0).standard_normal((1, shape[1], *size)).astype(np.float32)
            times = timed([session(whole), session(small)], x)
            sizes = (whole.stat().st_size, small.stat().st_size)
            kib, ms = ("{:,.0f} → {:,.0f}".format(*(n / 1024 for n in sizes)), "{:.2f} → {:.2f}".format(*times))
            yield [title, str(report.measured), kib, ms, "; ".join(map(str, report.outputs))]


def timed(runs: list[onnxruntime.InferenceSession], x: np.ndarray) -> list[float]:
    """Return the median time of each model in ms."""
    times: list[list[float]] = [[] for _ in runs]
    for turn in range(TURNS + 3):  # the first warm up
        for run, mine in zip(runs, times, strict=True):
            start = time.perf_counter()
            run.run(None, {run.get_inputs()[0].name: x})
            if turn >= 3:
                mine.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(mine) for mine in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, default=ROOT.parent / "shared" / "reference")
    parser.add_argument("--only", choices=["nets", "layers", "int8"])
    args = parser.parse_args()
    tables = {
        "nets": (["net", *FORMATS], nets(args.reference)),
        "layers": (["record", *FORMATS], grouped(layers())),
        "int8": (["net", "images", "KiB", "ms", "compared with float32"], int8(args.reference)),
    }
    for name, (heads, rows) in tables.items():
        if args.only in (None, name):
            print_table(heads, rows)


if __name__ == "__main__":
    main()
