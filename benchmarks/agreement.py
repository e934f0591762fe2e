"""The share of faces on which a classifier names the same class as on the undegraded face, by factor s and QP.

    python benchmarks/agreement.py --model mini-xception --out /tmp/agreement talk.mp4 ...

Shrinks and codes each video at every factor and QP, as `lq-emotion calibrate` does, and writes agreement.md,
agreement.json and a figure. Where a calibration lies beside the weights (of other videos), also what it says there: the
part of the answers that it trusts, and the agreement among those.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from lq_emotion.nets.known.loading import load_model
from lq_emotion.quality.calibration import Calibration
from lq_emotion.quality.measures import Condition
from lq_emotion.quality.samples import Samples, degraded_answers, join
from lq_emotion.quality.settings import Grid, Reading
from lq_emotion.quality.sources import video_sources

GRID = Grid(scales=(1, 3, 4, 6, 8, 12))


def measured(samples: Samples, calibration: Calibration | None) -> dict:
    """Agreement in all and in cells, with what the calibration says."""
    stays = samples.answers.argmax(axis=1) == samples.truth.argmax(axis=1)
    trusted, low, high = np.zeros(len(samples), bool), np.full(len(samples), np.nan), np.full(len(samples), np.nan)
    reasons: dict[str, int] = {}
    if calibration is not None:
        verdicts = calibration.judge(samples.answers, [Condition(*row) for row in samples.values.tolist()])
        trusted = np.array([verdict.trusted for verdict in verdicts])
        low, high = np.array([(verdict.low[0], verdict.high[0]) for verdict in verdicts]).T
        for verdict in verdicts:
            key = verdict.why.split(" is ")[0].split(" took ")[0] + (" (unusual)" if "holds" in verdict.why else "")
            reasons[key] = reasons.get(key, 0) + 1

    def part(rows: np.ndarray) -> dict:
        among = rows & trusted
        return {
            "faces": int(rows.sum()), "agreement": float(stays[rows].mean()), "trusted": float(trusted[rows].mean()),
            "agreement_trusted": float(stays[among].mean()) if among.any() else None,
            "low": float(low[rows].mean()), "high": float(high[rows].mean()),
        }  # fmt: skip

    cells = {
        (scale, qp): part((samples.scale == scale) & (samples.qp == qp)) for scale in GRID.scales for qp in GRID.qps
    }
    listed = [{"scale": scale, "qp": qp, **cell} for (scale, qp), cell in cells.items()]
    return {"all": part(np.ones(len(samples), bool)), "reasons": reasons, "cells": listed}


def markdown(result: dict) -> str:
    """Tables of the agreement, and of the part that is trusted."""
    cells, lines = {(cell["scale"], cell["qp"]): cell for cell in result["cells"]}, []
    for key, title in (("agreement", "Agreement"), ("trusted", "Trusted")):
        lines += [f"| {title}, s | " + " | ".join(f"QP {qp}" for qp in GRID.qps) + " |", "|---" * 5 + "|"]
        for scale in GRID.scales:
            lines.append(f"| {scale} | " + " | ".join(f"{cells[scale, qp][key]:.2f}" for qp in GRID.qps) + " |")
        lines.append("")
    return "\n".join(lines)


def draw(result: dict, file: Path, title: str) -> None:
    """Draw agreement, and what the calibration expects, against the factor."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.5, 3.8), layout="constrained")
    for number, qp in enumerate(GRID.qps):
        cells = [cell for cell in result["cells"] if cell["qp"] == qp]
        scales = [cell["scale"] for cell in cells]
        axes.plot(scales, [cell["agreement"] for cell in cells], f"C{number}o-", label=f"QP {qp}")
        if np.isfinite(cells[0]["low"]):
            low, high = ([cell[end] for cell in cells] for end in ("low", "high"))
            axes.fill_between(scales, low, high, color=f"C{number}", alpha=0.08)
    axes.set(xlabel="factor s", ylabel="same class as undegraded", xticks=GRID.scales, ylim=(0, 1.02))
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--boxes", type=Path, help="folder with NAME.csv or NAME.mat")
    parser.add_argument("--frames", type=int, default=250)
    args = parser.parse_args()
    model = load_model(args.model)
    sources = video_sources(args.videos, Reading(frames=args.frames, boxes=args.boxes))
    samples = join([degraded_answers(model, source.read(), GRID) for source in sources])
    result = measured(samples, Calibration.of_weights(model.weights))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "agreement.json").write_text(json.dumps(result, indent=2))
    (args.out / "agreement.md").write_text(markdown(result))
    draw(result, args.out / "agreement.png", f"{model.name}: {', '.join(source.name for source in sources)[:50]}")
    print(markdown(result))
    print(json.dumps({key: value for key, value in result.items() if key != "cells"}, indent=2))


if __name__ == "__main__":
    main()
