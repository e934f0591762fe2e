"""Figure 2: the pipeline from a face to its valence, with what each step makes of one frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from lq_emotion.common.plots import INK, SOFT, new_figure, save
from lq_emotion.evaluation.predictor import Predictor, load_predictor, predict_frames
from lq_emotion.studies.robust_lq.figure1 import SYNTHETIC, Image, connect, show_face
from lq_emotion.studies.robust_lq.rate_distortion import EnlargedFrames, psnr, shrunk
from lq_emotion.video.encode import Encoded, Frames, encode
from matlab_ports.matfile import open_frames
from matlab_ports.run_eval import Labels, read_labels

_LAYERS = ("conv1", "conv2", "conv3")
_MAPS = 4  # rows, and columns, of the feature maps that are shown
_WIDTH, _HEIGHT, _SIDE = 12.4, 6.05, 1.75  # inches
_UPPER, _LOWER = 3.6, 0.8  # bottom of each row, in inches
_ROW = (
    (0.35, _SIDE, 0.0),
    (2.65, _SIDE, 0.0),
    (5.3, 2.4, 0.35),
    (8.15, _SIDE, 0.0),
    (10.35, _SIDE, 0.0),
)  # left, width,
_COLUMNS = (0.35, 2.65, 4.95)  # and what a panel is lower by, for its axis; left of the maps
_CODEC, _QP, _FRAMES = "x264", 28, 250  # how many frames are coded, from the first
_GOLD, _ESTIMATE, _MARK = INK, "#2171b5", "#c0392b"
Doubles = npt.NDArray[np.float64]


class _Steps(NamedTuple):
    """What the steps make of a recording, and of its frame `number`."""

    number: int
    face: Image
    small: Frames
    encoded: Encoded
    enlarged: Image
    maps: dict[str, Image]  # (maps, H, W)
    vectors: tuple[str, ...]  # names of the fully connected layers
    estimates: Doubles
    labels: Labels


def draw_pipeline(
    crops: Path, weights: Path, factor: int, path: Path, *, levels: tuple[float, float], synthetic: bool = False
) -> None:
    """Draw the pipeline of full-resolution crops, NAME.mat, and a joint net, a snapshot in the folder of its run."""
    steps = _run(crops, weights, factor)
    figure = new_figure(_WIDTH, _HEIGHT, layout=None)
    upper = [_panel(figure, left, _UPPER, width, inset) for left, width, inset in _ROW]
    _draw_coding(upper, factor, steps, levels)
    lower = [_panel(figure, left, _LOWER, _SIDE) for left in _COLUMNS]
    for panel, (name, maps) in zip(lower, steps.maps.items(), strict=True):
        _draw_maps(panel, name, maps)
    _draw_series(_panel(figure, 7.75, _LOWER, _WIDTH - 7.95), steps)
    _arrows(figure, [(2.1, 2.65), (4.4, 4.85), (7.75, 8.15), (9.9, 10.35)], _UPPER)
    _arrows(figure, [(2.1, 2.65), (4.4, 4.95), (6.7, 7.3)], _LOWER)
    figure.text(
        7.0 / _WIDTH, (_LOWER + _SIDE / 2 + 0.08) / _HEIGHT, "\n".join(steps.vectors), ha="center", fontsize=7.5
    )
    _turn(figure, _ROW[-1][0] + _SIDE / 2, _COLUMNS[0] + _SIDE / 2)
    for x, text in ((0.35, "ENCODER"), (8.1, "DECODER")):
        figure.text(x / _WIDTH, 1 - 0.17 / _HEIGHT, text, fontsize=8, weight="bold", color=SOFT, va="top")
    title = "JOINT SUPER-RESOLUTION AND EMOTION RECOGNITION"
    figure.text(2.65 / _WIDTH, (_UPPER - 0.28) / _HEIGHT, title, fontsize=8, weight="bold", color=SOFT, va="top")
    source = (
        f"Frame {steps.number + 1:,} of {len(steps.small):,} of {crops.stem}; net {weights.parent.parent.name}. Of the "
        "feature maps those that vary most are shown, each from its own lowest value (black) to its highest (white)."
    )
    figure.text(
        0.5, 0.06 / _HEIGHT, f"{source} {SYNTHETIC if synthetic else ''}".strip(), ha="center", va="bottom",
        fontsize=7.5, color=SOFT,
    )  # fmt: skip
    save(figure, path)


def _run(path: Path, weights: Path, factor: int) -> _Steps:
    labels = read_labels(path.parent, [path.stem])[path.stem]
    predictor, _ = load_predictor(weights)
    with open_frames(path) as crops:
        height, width, total = crops.shape
        predictor.require_size((height, width), path)
        count = min(_FRAMES, total)
        number = count // 2
        small = shrunk(crops, factor, count)
        face: Image = crops.take([number])[:, :, 0].astype(np.float32)
    encoded = encode(small, _CODEC, qp=_QP)
    decoded = EnlargedFrames(encoded.decoded, (height, width))
    estimates = predict_frames(predictor, decoded, path)[:, predictor.output_of(labels.name)]
    enlarged: Image = decoded.take([number])[:, :, 0]
    labels = labels._replace(valence=labels.valence[:count], video_time=labels.video_time[:count])
    vectors = tuple(node.name for node in predictor.net.caffe.nodes if node.type == "InnerProduct")
    return _Steps(number, face, small, encoded, enlarged, _maps(predictor, enlarged), vectors, estimates, labels)


@torch.no_grad()
def _maps(predictor: Predictor, face: Image) -> dict[str, Image]:
    """Return the feature maps, (maps, H, W), of a face; the net sees it transposed."""
    net = predictor.net
    blobs = net.every_blob({net.inputs[0]: torch.from_numpy(np.ascontiguousarray(face.T))[None, None]})
    return {name: blobs[name][0].numpy().transpose(0, 2, 1) for name in _LAYERS}


def _panel(figure: Any, left: float, bottom: float, width: float, inset: float = 0.0) -> Any:
    """Return axes of the height `_SIDE`, less an inset at the bottom; all in inches."""
    rectangle = (left / _WIDTH, (bottom + inset) / _HEIGHT, width / _WIDTH, (_SIDE - inset) / _HEIGHT)
    return figure.add_axes(rectangle)


def _title(panel: Any, first: str, second: str) -> None:
    panel.set_title(f"{first}\n{second}", fontsize=8.5, pad=4, color=INK)


def _draw_coding(panels: list[Any], factor: int, steps: _Steps, levels: tuple[float, float]) -> None:
    full = f"{steps.face.shape[1]} × {steps.face.shape[0]}"
    reduced = f"{steps.small.shape[2]} × {steps.small.shape[1]}"
    decoded = steps.encoded.decoded
    black, white = (255 * level for level in levels)
    show_face(panels[0], steps.face, levels)
    _title(panels[0], "face, cropped", full)
    show_face(panels[1], steps.small[steps.number], (black, white))
    _title(panels[1], f"downsampled, s = {factor}", reduced)
    _draw_bits(panels[2], steps.encoded.frame_bits, steps.number)
    rate = f"{steps.encoded.total_bits:,} bits in all, {steps.encoded.bpp:.2f} per pixel"
    _title(panels[2], f"encoded: {_CODEC}, QP {_QP}", rate)
    show_face(panels[3], decoded[steps.number], (black, white))
    quality = psnr(decoded[[steps.number]], steps.small[[steps.number]])
    _title(panels[3], "decoded", reduced if quality is None else f"{reduced}, {quality:.1f} dB")
    show_face(panels[4], steps.enlarged, levels)
    _title(panels[4], "enlarged (bicubic)", full)


def _draw_bits(panel: Any, bits: Sequence[int], number: int) -> None:
    panel.bar(np.arange(len(bits)) + 1, bits, width=1.0, color="#9ecae1")
    panel.bar([number + 1], [bits[number]], width=1.0, color=_MARK)
    panel.set_yscale("log")
    panel.set_xlabel("frame", fontsize=7.5, labelpad=1)
    panel.set_ylabel("bits", fontsize=7.5, labelpad=1)
    panel.tick_params(labelsize=7)
    panel.margins(x=0)
    text = f"this frame: {bits[number]:,} bits"
    panel.text(0.97, 0.95, text, transform=panel.transAxes, ha="right", va="top", fontsize=7.5, color=_MARK)


def _draw_maps(panel: Any, name: str, maps: Image) -> None:
    """Show the maps that vary most in a square, each at its own contrast."""
    chosen = np.sort(np.argsort(-maps.std(axis=(1, 2)), kind="stable")[: _MAPS**2])
    height, width = maps.shape[1:]
    gap = max(1, height // 16)
    square = np.full((_MAPS * (height + gap) - gap, _MAPS * (width + gap) - gap), np.nan)
    for place, values in enumerate(maps[chosen]):
        row, column = (part * (size + gap) for part, size in zip(divmod(place, _MAPS), (height, width), strict=True))
        low, high = float(values.min()), float(values.max())
        square[row : row + height, column : column + width] = (values - low) / ((high - low) or 1)
    show_face(panel, square, (0, 1))
    _title(panel, name, f"{min(_MAPS**2, len(maps))} of {len(maps)} maps, {width} × {height}")


def _draw_series(panel: Any, steps: _Steps) -> None:
    time = steps.labels.video_time
    panel.plot(time, steps.labels.valence, color=_GOLD, linewidth=1.2, label="gold standard")
    panel.plot(time, steps.estimates, color=_ESTIMATE, linewidth=0.9, label="estimate")
    panel.axvline(time[steps.number], color=_MARK, linewidth=0.9, linestyle="--", label="this frame")
    panel.set_xlabel("seconds", fontsize=7.5, labelpad=1)
    panel.tick_params(labelsize=7)
    panel.grid(visible=True, alpha=0.3)
    panel.margins(x=0.01)
    panel.legend(fontsize=7, ncols=3, frameon=False, loc="lower right", bbox_to_anchor=(1, 0.99), borderaxespad=0)
    panel.set_title(steps.labels.name, fontsize=8.5, pad=4, color=INK, loc="left")


def _arrows(figure: Any, gaps: list[tuple[float, float]], bottom: float) -> None:
    """Draw an arrow across each gap of a row, in inches from left to right."""
    y = (bottom + _SIDE / 2) / _HEIGHT
    for start, end in gaps:
        connect(figure, ((start + 0.06) / _WIDTH, y), ((end - 0.06) / _WIDTH, y))


def _turn(figure: Any, start: float, end: float) -> None:
    """Draw the way from the end of the upper row to the beginning of the lower one, in inches from the left."""
    from matplotlib.lines import Line2D

    top, middle, bottom = (y / _HEIGHT for y in (_UPPER - 0.06, _UPPER - 0.2, _LOWER + _SIDE + 0.4))
    across = ((start / _WIDTH, start / _WIDTH, end / _WIDTH), (top, middle, middle))
    figure.add_artist(Line2D(*across, color=INK, linewidth=1.1, transform=figure.transFigure))
    connect(figure, (end / _WIDTH, middle), (end / _WIDTH, bottom), shrinkA=0)
