"""What the stages before a super-resolution training do: pictures, or faces in their place, and patches of them."""

from __future__ import annotations

from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.errors import FileError
from lq_emotion.studies.robust_lq.sr_demo.image_sources import in_folder
from lq_emotion.studies.robust_lq.stage_work import PHASES, Experiment

_FOLDERS = {  # the first that holds pictures
    "train": ("Train", "train"),
    "test": ("Test/Set5", "Set5", "Test", "test"),
}


def do_faces(plan: Experiment, crops: tuple[Path, ...], count: int) -> None:
    """Sample faces evenly from the training recordings; the last tenth is held out."""
    from PIL import Image

    from caffe_compat.formats.files import atomic_path
    from matlab_ports.matfile import open_frames

    faces = []
    for path in crops:
        with open_frames(path) as frames:
            share = min(len(frames), -(-count // len(crops)))
            taken = frames.take(np.linspace(0, len(frames) - 1, share).round().astype(int))
        faces += [np.asarray(np.round(255 * face).clip(0, 255), np.uint8) for face in np.moveaxis(taken, 2, 0)]
    held_out = max(1, len(faces) // 10)
    for phase, chosen in (("train", faces[:-held_out]), ("test", faces[-held_out:])):
        folder = plan.out / "sr/pictures" / phase
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.png"):
            old.unlink()
        for number, face in enumerate(chosen):
            with atomic_path(folder / f"face_{number:05d}.png") as partial_path:
                Image.fromarray(face).save(partial_path, format="png")
        (folder.parent / f"{phase}.made").write_text(f"{len(chosen)}\n", encoding="utf-8")


def do_sr_data(plan: Experiment, s: int) -> None:
    """Make generate_train's and generate_test's files; one random stream runs through both."""
    from caffe_compat.formats.files import atomic_path
    from lq_emotion.common.lists import write_list
    from lq_emotion.nets.sr_fcn import PATCH, output_size
    from matlab_ports.generate_test import generate_test
    from matlab_ports.generate_train import generate_train
    from matlab_ports.randstream import RandStream

    target = plan.out / "sr" / f"{s}"
    target.mkdir(parents=True, exist_ok=True)
    stream = RandStream(plan.seed)
    pictures = sr_pictures(plan)
    label = output_size(PATCH, switches=plan.switches)
    options: dict[str, Any] = {"scale": s, "gray": "repeat", "stream": stream, "size_label": label}
    strides = {"train": {"stride": plan.preset_of("sr")["scale_stride"]}, "test": {}}
    for phase, generate in (("train", generate_train), ("test", generate_test)):
        with atomic_path(target / f"{phase}.h5") as partial:
            names = [escape(path.name) for path in pictures[phase]]
            generate(pictures[phase][0].parent, partial, pattern=names, **strides[phase], **options)
            if plan.switches.luminance == "gray":
                _stretch(partial)
    for phase in PHASES:
        write_list([target / f"{phase}.h5"], target / f"{phase}.txt")


def _stretch(path: Path) -> None:
    """Make Y, from 16/255 to 235/255, gray, from 0 to 1, in a file of patches."""
    import h5py

    from matlab_ports._support.prepare_recording import stretched

    with h5py.File(path, "r+") as file:
        for name in ("data", "label"):
            file[name][...] = stretched(file[name][...])


def sr_pictures(plan: Experiment) -> dict[str, list[Path]]:
    """Return the pictures to train with and to test with: Train and Test/Set5 in the authors' ``pretrain``.

    Raises
    ------
    FileError
        One of the folders is missing or holds no pictures, or a file is none.
    """
    if plan.natural is None:
        return {phase: in_folder(plan.out / "sr/pictures" / phase) for phase in PHASES}
    chosen = {}
    for phase, names in _FOLDERS.items():
        present = (plan.natural / name for name in names if (plan.natural / name).is_dir())
        chosen[phase] = next((pictures for folder in present if (pictures := in_folder(folder))), [])
        if not chosen[phase]:
            hint = f"the pictures to {phase} with are looked for in {', '.join(names)}; the authors' folder is pretrain"
            raise FileError(f"holds no pictures to {phase} with", file=plan.natural, field="--sr-pictures", hint=hint)
    for path in (path for paths in chosen.values() for path in paths):
        _require_picture(path)
    return chosen


def _require_picture(path: Path) -> None:
    """Read no more than the head: a picture cut short is refused by the stage that reads it."""
    from PIL import Image

    try:
        with Image.open(path):
            pass
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise FileError("is no picture that can be read", file=path, hint="remove it, or convert it to BMP") from None
