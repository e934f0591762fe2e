"""The coverage of labels by intervals, on synthetic recordings of people that neither net nor calibration has seen.

    python benchmarks/trust.py --out /tmp/trust [--people 600] [--iterations 4000]

Draws recordings of people; trains a small net for valence on some, degraded at random. The others are parted in three:
two parts calibrate the net, and it is judged on the third, at every factor s and QP, until each part was judged once.
Writes trust.md, trust.json and a figure. About twenty minutes on two cores; what is done is not done again.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from caffe_compat.build.net import load_net
from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.build.weights import save_weights
from caffe_compat.definition.netspec import NetSpec
from caffe_compat.definition.netspec import layers as L
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Solver
from lq_emotion.common.fingerprints import file_sha256, versions
from lq_emotion.common.json_files import write_json
from lq_emotion.datasets.synthetic.package import SyntheticSettings, make_recordings
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.loading import LoadedModel
from lq_emotion.nets.known.outputs import Dimension, Dimensions
from lq_emotion.quality.calibration import Calibration, MadeFrom, sidecar
from lq_emotion.quality.conformal import Samples, make_calibration
from lq_emotion.quality.measures import MEASURES, Condition
from lq_emotion.quality.samples import collect, join
from lq_emotion.quality.settings import Grid, Reading
from lq_emotion.quality.sources import labelled_sources
from lq_emotion.video.degrade import degrade

SIDE, LAG, PARTS = 64, 0.4, 3
GRID = Grid(scales=(1, 3, 4, 6, 8, 12))
PREPROCESSING = Preprocessing("GRAY", resize=(SIDE, SIDE), raw_scale=1 / 255, mean=np.array([0.45], np.float32))
CROP = FaceCrop()


def small_net(training: Path | None) -> pb.NetParameter:
    """Three convolutions and two inner products; with its data and loss for training."""
    filler = {"weight_filler": {"type": "xavier"}}
    net = NetSpec()
    if training:
        net.data, net.label = L.HDF5Data(batch_size=64, source=str(training), shuffle=True, ntop=2)
    else:
        net.data = L.Input(input_param={"shape": {"dim": [1, 1, SIDE, SIDE]}})
    bottom = net.data
    for number, (outputs, kernel) in enumerate(((16, 5), (32, 5), (64, 3)), start=1):
        convolved = L.Convolution(bottom, num_output=outputs, kernel_size=kernel, **filler)
        setattr(net, f"conv{number}", convolved)
        setattr(net, f"relu{number}", L.ReLU(convolved, in_place=True))
        bottom = L.Pooling(convolved, pool="MAX", kernel_size=2, stride=2)
        setattr(net, f"pool{number}", bottom)
    net.fc4 = L.InnerProduct(bottom, num_output=64, **filler)
    net.relu4 = L.ReLU(net.fc4, in_place=True)
    net.drop4 = L.Dropout(net.relu4, dropout_ratio=0.5, in_place=True)
    net.valence = L.InnerProduct(net.drop4, num_output=1, **filler)
    if training:
        net.loss = L.EuclideanLoss(net.valence, net.label)
    return net.to_proto()


def training_samples(recordings: Path, copies: int = 3):
    """Crops of every frame as the net takes them, undegraded and degraded at random, with labels."""
    from lq_emotion.faces.face import Face

    rng = np.random.default_rng(0)
    sources = labelled_sources(recordings, ["valence"], reading(recordings), names_of(recordings, "train"))
    data, labels = [], []
    for source in sources:
        clip = source.read()
        for copy in range(copies):
            scale = 1.0 if not copy else float(rng.choice(GRID.scales))
            low = degrade(clip.frames, scale=scale, qp=int(rng.integers(18, 46)) if copy else None)
            for image, box, label in zip(low.frames, clip.boxes / scale, clip.labels, strict=True):
                if np.isfinite(box).all():
                    data.append(PREPROCESSING(CROP.cut(image, Face(*box.tolist(), score=1.0))))
                    labels.append(label)
    order = rng.permutation(len(data))
    return np.stack(data)[order], np.stack(labels)[order].astype(np.float32)


def reading(recordings: Path) -> Reading:
    return Reading(delay=LAG, boxes=recordings / "synthetic_face_boxes")


def names_of(recordings: Path, partition: str) -> list[str]:
    return sorted(path.stem for path in (recordings / "recordings_video").glob(f"{partition}_*.mp4"))


def trained(recordings: Path, folder: Path, iterations: int) -> LoadedModel:
    """Train the net unless its weights are there."""
    weights = folder / "valence.caffemodel"
    if not weights.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        data, labels = training_samples(recordings)
        print(f"training on {len(data)} crops", flush=True)
        with h5py.File(folder / "train.h5", "w") as file:
            file["data"], file["label"] = data, labels
        (folder / "train.txt").write_text(f"{folder / 'train.h5'}\n")
        param = pb.SolverParameter(
            base_lr=0.01, lr_policy="poly", power=1.0, max_iter=iterations, momentum=0.9, weight_decay=5e-4,
            display=100, random_seed=1, snapshot_prefix=str(folder / "valence"),
            solver_mode=pb.SolverParameter.CPU, snapshot_after_train=False,
        )  # fmt: skip
        param.net_param.CopyFrom(small_net(folder / "train.txt"))
        with Solver(param, base_dir=folder) as solver:
            solver.solve()
            save_weights(solver.net, weights)
    outputs = Dimensions((Dimension("valence", -1, 1, "synthetic"),))
    return LoadedModel(
        name="small synthetic net", net=load_net(small_net(None), weights), definition=small_net(None),
        preprocessing=PREPROCESSING, outputs=outputs, crop=CROP, weights=weights, limits="knows drawn faces only",
    )  # fmt: skip


def answers(model: LoadedModel, recordings: Path, folder: Path):
    """Answers on the development recordings of a folder, at every scale and QP."""
    sources = labelled_sources(recordings, ["valence"], reading(recordings))
    parts = []
    for name, samples in collect(model, sources, GRID, folder):
        parts.append(samples)
        if len(parts) % 20 == 0:
            print(f"{recordings.name}: {len(parts)} of {len(sources)} ({name})", flush=True)
    return [source.name for source in sources], [part for part in parts if len(part)]


def made_from(model: LoadedModel, names: list[str], samples: Samples) -> MadeFrom:
    return MadeFrom(
        model.name, file_sha256(model.weights), tuple(names), len(samples), GRID,
        "synthetic", versions(),
    )  # fmt: skip


def judged(samples: Samples, origin: MadeFrom) -> dict[str, np.ndarray]:
    """Intervals and verdicts for each recording, by a calibration on the recordings of the two other parts."""
    low, high = np.empty((2, len(samples)))
    trusted, why = np.zeros(len(samples), bool), np.empty(len(samples), object)
    for part in range(PARTS):
        test = samples.recording % PARTS == part
        calibration = make_calibration(rows_of(samples, ~test), origin, ["valence"])
        verdicts = calibration.judge(samples.answers[test], [Condition(*row) for row in samples.values[test].tolist()])
        low[test], high[test] = np.array([(verdict.low[0], verdict.high[0]) for verdict in verdicts]).T
        trusted[test], why[test] = zip(*((verdict.trusted, verdict.why) for verdict in verdicts), strict=True)
    return {"low": low, "high": high, "trusted": trusted, "why": why}


def rows_of(samples: Samples, rows: np.ndarray) -> Samples:
    return Samples(**{name: values[rows] for name, values in vars(samples).items()})


def evaluate(test: Samples, verdicts: dict[str, np.ndarray], calibration: Calibration) -> dict:
    """Coverage, widths and errors, in all and in cells."""
    low, high, trusted = verdicts["low"], verdicts["high"], verdicts["trusted"]
    label, estimate = test.truth[:, 0], test.answers[:, 0]
    held, width, error = (low <= label) & (label <= high), high - low, np.abs(estimate - label)
    cells = []
    for scale in GRID.scales:
        for qp in GRID.qps:
            rows = (test.scale == scale) & (test.qp == qp)
            cell = {"scale": scale, "qp": qp, "frames": int(rows.sum())}
            columns = {"coverage": held, "width": width, "error": error, "trusted": trusted}
            cells.append({**cell, **{name: float(column[rows].mean()) for name, column in columns.items()}})
    reasons: dict[str, int] = {}
    for why in verdicts["why"]:
        key = why.split(" is ")[0].split(" took ")[0] + (" (unusual)" if "holds" in why else "")
        reasons[key] = reasons.get(key, 0) + 1
    size = test.values[:, MEASURES.index("size")]
    errors = calibration.errors[0]
    return {
        "frames": len(test), "recordings": len(np.unique(test.recording)), "coverage": float(held.mean()),
        "least_coverage": min(cell["coverage"] for cell in cells), "trusted": float(trusted.mean()),
        "error": float(error.mean()), "error_trusted": float(error[trusted].mean()),
        "coverage_trusted": float(held[trusted].mean()), "limit": errors.limit, "undegraded": errors.undegraded,
        "constant": errors.constant, "enough": dict(errors.enough),
        "correlation": float(np.corrcoef(estimate, label)[0, 1]),
        "error_at_size_alone": kept_at(risk(-size, error), float(trusted.mean())), "reasons": reasons, "cells": cells,
        "risk": {"trust": risk(width, error), "size": risk(-size, error), "oracle": risk(error, error)},
    }  # fmt: skip


def kept_at(curve: list[list[float]], part: float) -> float:
    """The error of a risk-coverage curve where so large a part is kept."""
    return float(np.interp(part, *zip(*curve, strict=True)))


def risk(uncertainty, error, points: int = 50) -> list[list[float]]:
    """Mean error of the answers kept, most certain first, by the part that is kept; equals share their error."""
    _, place = np.unique(uncertainty, return_inverse=True)
    shared = (np.bincount(place, error) / np.bincount(place))[place]
    means = np.cumsum(shared[np.argsort(uncertainty, kind="stable")]) / np.arange(1, len(error) + 1)
    counts = np.linspace(len(error) // 20, len(error), points).astype(int)
    return [[float(count / len(error)), float(means[count - 1])] for count in counts]


def markdown(result: dict) -> str:
    """The tables of trust.md."""
    cells = {(cell["scale"], cell["qp"]): cell for cell in result["cells"]}
    lines = []
    titles = (("coverage", "Coverage"), ("width", "Mean width"), ("error", "Mean error"), ("trusted", "Trusted"))
    for key, title in titles:
        lines += [f"| {title}, s | " + " | ".join(f"QP {qp}" for qp in GRID.qps) + " |", "|---" * 5 + "|"]
        for scale in GRID.scales:
            values = " | ".join(f"{cells[scale, qp][key]:.3f}" for qp in GRID.qps)
            lines.append(f"| {scale} | {values} |")
        lines.append("")
    return "\n".join(lines)


def draw(result: dict, folder: Path) -> None:
    """Write both figures."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    for name, label in (
        ("size", "face size alone"),
        ("trust", "width of the interval"),
        ("oracle", "the error itself"),
    ):
        kept, errors = zip(*result["risk"][name], strict=True)
        left.plot(kept, errors, label=label, linestyle=":" if name == "oracle" else "-")
    left.plot(result["trusted"], result["error_trusted"], "ko", label="trusted")
    left.set(xlabel="part of the answers kept", ylabel="mean absolute error of valence", ylim=(0, None))
    left.set_title("synthetic people: error of the answers kept", fontsize=10)
    left.legend(frameon=False, fontsize=8)
    for qp in GRID.qps:
        cells = [cell for cell in result["cells"] if cell["qp"] == qp]
        right.plot([cell["scale"] for cell in cells], [cell["width"] for cell in cells], marker="o", label=f"QP {qp}")
    right.set(xlabel="factor s", ylabel="mean width of the 90 % interval", xticks=GRID.scales, ylim=(0, None))
    right.set_title("synthetic people: width of the intervals", fontsize=10)
    right.legend(frameon=False, fontsize=8)
    figure.savefig(folder / "trust.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--people", type=int, default=600, help="whom the net has not seen (default 600)")
    parser.add_argument("--iterations", type=int, default=4000, help="of training (default 4000)")
    parser.add_argument("--seeds", type=int, nargs=2, default=(2, 3), help="of those people (default 2 3)")
    args = parser.parse_args()
    out, make = args.out.resolve(), partial(SyntheticSettings, frames=60, size=(192, 192), jobs=2)
    make_recordings(make(out=out / "train", train=160, dev=0, seed=1))
    model = trained(out / "train", out / "net", args.iterations)
    names, parts = [], []
    for seed in args.seeds:  # two folders of people, none of whom the net has seen
        folder = out / f"people_{seed}"
        make_recordings(make(out=folder, train=0, dev=args.people // 2, seed=seed))
        some, samples = answers(model, folder, out / f"answers_{seed}")
        names += [f"{folder.name}/{name}" for name in some]
        parts += samples
    samples = join(parts)
    origin = made_from(model, names, samples)
    calibration = make_calibration(samples, origin, ["valence"])
    write_json(calibration.to_json(), sidecar(model.weights))
    result = evaluate(samples, judged(samples, origin), calibration)
    (out / "trust.json").write_text(json.dumps(result, indent=2))
    (out / "trust.md").write_text(markdown(result))
    draw(result, out)
    print(markdown(result))
    print(json.dumps({key: value for key, value in result.items() if key not in ("cells", "risk")}, indent=2))


if __name__ == "__main__":
    main()
