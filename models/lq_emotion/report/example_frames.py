"""A face at every factor, as in the paper's Figure 1, and super-resolved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.build.net import CaffeNet
from caffe_compat.errors import CaffeCompatError
from lq_emotion.common.document import Block, Figure, Text
from lq_emotion.common.plots import new_figure, png
from lq_emotion.datasets.avec.layout import natural_order
from lq_emotion.datasets.avec.partitions import stored_partitions
from lq_emotion.nets.names import Net, crops_folder
from lq_emotion.report.parts import Absent
from lq_emotion.studies.robust_lq.figure1 import levels_of, show_face
from lq_emotion.studies.robust_lq.store import Store
from lq_emotion.studies.robust_lq.upscaling import BORDER, DEPLOY, run_net
from lq_emotion.training.run import DEPLOY as RUN_DEPLOY
from lq_emotion.training.run import find_weights
from matlab_ports.imresize import imresize
from matlab_ports.matfile import open_frames

Face = npt.NDArray[np.floating[Any]]
_PEOPLE = 2


class _Shown(NamedTuple):
    """A face at one factor: enlarged by interpolation, and super-resolved by the net of a factor, if any."""

    bicubic: Face
    sr: Face | None
    net: int | None


def frames(store: Store) -> Iterator[Block]:
    """Yield the figure."""
    folder = store.root / "data" / "raw_data" / crops_folder(1)
    crops = sorted(folder.glob("*.mat"), key=lambda path: natural_order(path.stem))
    partitions = stored_partitions(store.root / "data")
    chosen = ([path for path in crops if partitions.of(path.stem) == "dev"] or crops)[:_PEOPLE]
    if not chosen:
        raise Absent("No faces to show: `lq-emotion data prepare` leaves crops in data/raw_data/HQ.")
    nets, problems = _nets(store)
    scales = store.scales
    people = {path.stem: _middle(path) for path in chosen}
    shown = {name: {s: _show(face, s, nets) for s in scales} for name, (face, _) in people.items()}
    titles = [f"{name} (frame {at + 1:,} of the crops)" for name, (_, at) in people.items()]
    used = sorted({face.net for by_factor in shown.values() for face in by_factor.values() if face.net is not None})
    caption = (
        f"As the paper's **Figure 1**: faces of {' and '.join(titles)} at 96 × 96 (HR), and shrunk by s and enlarged "
        "by bicubic interpolation (LR-s), the input of the nets."
    )
    if used:
        caption += (
            f" Below them what SR-FCN makes of them, trained at s = {', '.join(map(str, used))}: its {_leaves(store)} "
            "the middle 80 × 80 pixels. PSNR is of these 80 × 80 pixels, in dB at a peak of 1."
        )
    alt = f"Faces in full resolution and shrunk by {', '.join(map(str, scales))}" + ("; super-resolved" if used else "")
    faces, levels = {name: face for name, (face, _) in people.items()}, levels_of(store.switches.get("luminance"))
    yield Figure("frames", _draw(faces, shown, levels), caption, alt)
    if not nets:
        yield Text("No super-resolved faces: there are no weights in runs/pretrain-s.", "note")
    for problem in problems:
        yield Text(problem, "note")


def _middle(path: Path) -> tuple[Face, int]:
    with closing(open_frames(path)) as crops:
        at = crops.shape[2] // 2
        return crops.take([at])[:, :, 0].astype(np.float32), at


def _nets(store: Store) -> tuple[dict[int, CaffeNet], list[str]]:
    """Return the SR nets by factor, and the errors of those that cannot be loaded."""
    import lq_emotion.prototxt as prototxt
    from caffe_compat.build.net import load_net

    nets, problems = {}, []
    for folder in sorted((store.root / "runs").glob(f"{Net.SR_FCN}-*/")):
        scale = folder.name.removeprefix(f"{Net.SR_FCN}-")
        if not scale.isdecimal():
            continue
        try:
            definition = folder / RUN_DEPLOY
            nets[int(scale)] = load_net(
                definition if definition.is_file() else prototxt.path(DEPLOY), find_weights(folder)
            )
        except (CaffeCompatError, OSError) as error:
            problems.append(f"Not shown: {error}")
    return nets, problems


def _show(face: Face, scale: int, nets: Mapping[int, CaffeNet]) -> _Shown:
    """Shrink and enlarge a face as in the data; the net is that of the factor, the next larger or the largest.

    Joint-OA has one net, of a large factor, for all factors.
    """
    enlarged = imresize(imresize(face, 1 / scale), face.shape)
    if not nets:
        return _Shown(enlarged, None, None)
    chosen = min((s for s in nets if s >= scale), default=max(nets))
    resolved = run_net(nets[chosen], enlarged.astype(np.float64))
    return _Shown(enlarged, _inner(resolved) if resolved.shape == face.shape else resolved, chosen)


def _leaves(store: Store) -> str:
    return "padded convolutions keep all, here" if "convolutions" in store.switches else "unpadded convolutions leave"


def _draw(faces: Mapping[str, Face], shown: Mapping[str, Mapping[int, _Shown]], levels: tuple[float, float]) -> bytes:
    scales = list(next(iter(shown.values())))
    with_sr = any(face.sr is not None for by_factor in shown.values() for face in by_factor.values())
    rows = 2 if with_sr else 1  # of a person
    drawing = new_figure(1.55 * (1 + len(scales)), 1.86 * rows * len(faces))
    axes = drawing.subplots(rows * len(faces), 1 + len(scales), squeeze=False)
    for panel in axes.flat:
        panel.set_axis_off()
    for number, (name, face) in enumerate(faces.items()):
        upper = axes[rows * number]
        _panel(upper[0], face, f"HR\n{name}", levels)
        for panel, s in zip(upper[1:], scales, strict=True):
            bicubic = shown[name][s].bicubic
            _panel(panel, bicubic, f"LR-{s}\n{_psnr(_inner(bicubic), face)}", levels)
        if with_sr:
            _below(axes[rows * number + 1], face, shown[name], levels)
    return png(drawing)


def _below(panels: Sequence[Any], face: Face, shown: Mapping[int, _Shown], levels: tuple[float, float]) -> None:
    _panel(panels[0], _inner(face), "HR\nmiddle", levels)
    for panel, (s, (_, sr, factor)) in zip(panels[1:], shown.items(), strict=True):
        if sr is not None:
            net = "" if factor == s else f" (net of {factor})"
            _panel(panel, sr, f"SR-{s}{net}\n{_psnr(sr, face)}", levels)


def _panel(panel: Any, face: Face, title: str, levels: tuple[float, float]) -> None:
    show_face(panel, face, levels)
    panel.set_title(title, fontsize=8, pad=3)


def _inner(face: Face) -> Face:
    return face[BORDER:-BORDER, BORDER:-BORDER]


def _psnr(inner: Face, face: Face) -> str:
    error = float(np.mean((inner.astype(np.float64) - _inner(face)) ** 2))
    return f"{-10 * np.log10(error):.1f} dB" if error else "equal"
