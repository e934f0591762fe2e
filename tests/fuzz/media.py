"""Cases of recordings: MAT-files, labels, videos and pictures, damaged, and read by everything that reads them.

As a module it is the worker: ``python -m tests.fuzz.media SEED START STOP FOLDER``.
"""

import io
import random
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from caffe_compat.data.decode import AS_STORED, COLOR, decode
from caffe_compat.data.source import Origin
from caffe_compat.errors import CaffeCompatError
from caffe_compat.pycaffe.io import load_image
from lq_emotion.datasets.avec.gold import read_gold, read_gsd, read_ratings
from lq_emotion.datasets.avec.times import frame_times
from lq_emotion.faces.boxfiles import read_boxes
from lq_emotion.studies.robust_lq.image_sources import of_folder
from matlab_ports import imread
from matlab_ports._support.frame_time import frame_time
from matlab_ports.matfile import loadmat, open_frames, savemat
from matlab_ports.videoreader import VideoReader
from tests.fuzz.mutate import NUMBERS, damaged_bytes, damaged_hdf5
from tests.fuzz.worker import main
from tests.videos import random_frames, write_video

Use = Callable[[Path], object]
REFUSED = (CaffeCompatError, OSError)
CODECS = {
    "v.mp4": ("libx264", "yuv420p"),
    "v.avi": ("mjpeg", "yuvj420p"),
    "v.mkv": ("ffv1", "bgr0"),
    "raw.avi": ("rawvideo", "bgr24"),
}
PICTURES = ("p.png", "p.jpg", "p.bmp", "p.tiff", "p.webp")
ARFF = (
    "@relation 'gold'\n@attribute name string\n@attribute frameTime numeric\n@attribute GoldStandard numeric\n@data\n"
)


def write_good(folder: Path) -> dict[str, Path]:
    """Write a file of every kind; return them by kind."""
    rng, times = np.random.default_rng(0), np.arange(12) * 0.04
    boxes = np.tile([3.0, 4, 120, 110], (12, 1))
    values = {
        "video": rng.random((8, 6, 12)), "gsd": rng.standard_normal((12, 1)), "time": times[:, None], "bbox": boxes,
        "valence": np.zeros((1, 12)), "name": "dev_1", "few": np.arange(4, dtype=np.uint8), "turn": np.array([1 + 2j]),
    }  # fmt: skip
    files = {}
    for version in ("-v6", "-v7", "-v7.3"):
        files[f"mat{version}"] = folder / f"good{version}.mat"
        savemat(files[f"mat{version}"], values, version)
    texts = {
        "gold.arff": ARFF + "".join(f"'dev_1',{time:.2f},{time / 3}\n" for time in times),
        "gsd.csv": "time;gsd\n" + "".join(f"{time:.2f};{time / 3}\n" for time in times),
        "ratings.csv": "time; FM1 ; FM2;FF1\n" + "".join(f"{t:.2f};{t};{t / 2};{t * t}\n" for t in times),
        "boxes.csv": "frame,time,left,top,width,height\n" + "".join(f"{i},{t:.2f},3,4,120,110\n" for i, t in enumerate(times)),
        "frames.csv": "frame; time in seconds\n" + "".join(f"{i};{t:.2f}\n" for i, t in enumerate(times)),
    }  # fmt: skip
    for name, text in texts.items():
        files[name] = folder / f"good.{name}"
        files[name].write_text(text, encoding="utf-8")
    frames = random_frames(6, 80, 100)
    for name, (codec, kind) in CODECS.items():
        files[name] = write_video(folder / f"good.{name}", frames, codec=codec, pix_fmt=kind)
    for name in PICTURES:
        files[name] = folder / f"good.{name}"
        cv2.imwrite(str(files[name]), frames[0])
    return files


class RecordingCases:
    """The cases of a seed, in a folder of their own."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.folder = seed, folder
        self.files = write_good(folder)
        self.good = {kind: file.read_bytes() for kind, file in self.files.items()}
        for kind, file in self.files.items():  # what is imported at its first use is no case's memory
            for use in uses(kind):
                use(file)

    def run(self, number: int) -> tuple[str, Path, bool]:
        """Make the file of a case and use it; return its kind, the file, and whether anything took it."""
        rng = random.Random(f"{self.seed}:{number}")
        kind = rng.choice(list(self.files))
        file = self.folder / "case" / f"case.{kind if '.' in kind and '-' not in kind else 'mat'}"
        file.parent.mkdir(exist_ok=True)
        for old in file.parent.iterdir():
            old.unlink()
        file.write_bytes(self._damaged(kind, rng))
        if kind == "mat-v7.3" and rng.random() < 0.5:
            file.write_bytes(self.good[kind])
            damaged_hdf5(file, rng)
        taken = False
        for use in uses(kind):
            try:
                use(file)
                taken = True
            except REFUSED as error:
                if not str(error) or "\n" in str(error):
                    raise RuntimeError(f"an error of several lines, or of none: {str(error)!r}") from error
        return kind, file, taken

    def _damaged(self, kind: str, rng: random.Random) -> bytes:
        good = self.good[kind]
        if kind == "mat-v7" and rng.random() < 0.7:
            return _inside(good, rng)
        return damaged_bytes(good, rng) if kind.endswith((".csv", ".arff")) else damaged(good, rng)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return a binary file with some bytes or numbers changed."""
    return damaged_bytes(content, rng) if rng.random() < 0.4 else _numbers(content, rng)


def _numbers(content: bytes, rng: random.Random) -> bytes:
    """Set a few whole numbers, mostly where headers are, to extreme values; at times only the beginning is left."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randrange(min(len(data), rng.choice((64, 512, len(data)))))
        size = rng.choice((1, 2, 4, 4, 8))
        value = rng.choice((*NUMBERS, 5000, 20000)) % (1 << 8 * size)
        data[place : place + size] = value.to_bytes(size, rng.choice(("little", "big")))
    return bytes(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.1 else data)


def _inside(content: bytes, rng: random.Random) -> bytes:
    """Damage what the elements of a -v7 file inflate to."""
    out, position = bytearray(content[:128]), 128
    while position < len(content):
        size = struct.unpack_from("<I", content, position + 4)[0]
        body = zlib.decompress(content[position + 8 : position + 8 + size])
        if rng.random() < 0.5:
            body = damaged_bytes(body, rng) if rng.random() < 0.5 else _numbers(body, rng)
        packed = zlib.compress(body)
        out += struct.pack("<II", 15, len(packed)) + packed
        position += 8 + size
    return bytes(out)


def uses(kind: str) -> Iterator[Use]:
    """Return everything that reads a kind of file."""
    if kind.startswith("mat"):
        return iter((loadmat, read_gsd, read_boxes, *map(_frames_of, ("video", "gsd", "few"))))
    if kind in CODECS:
        return iter([_reading("av", "rgb"), _reading("av", "luma"), _reading("opencv", "rgb")])
    if kind in PICTURES:
        of_opencv = [lambda path, flag=flag: decode(path.read_bytes(), flag, Origin("")) for flag in (COLOR, AS_STORED)]
        ports = () if kind == "p.webp" else (imread,)  # as MATLAB reads no WebP
        others = (load_image, _read_by_demo, lambda path: load_image(io.BytesIO(path.read_bytes())))
        return iter((*of_opencv, *ports, *others))
    readers: dict[str, tuple[Use, ...]] = {
        "gold.arff": (read_gold,), "gsd.csv": (read_gsd,), "ratings.csv": (read_ratings,), "boxes.csv": (read_boxes,),
        "frames.csv": (frame_times, frame_time),
    }  # fmt: skip
    return iter(readers[kind])


def _frames_of(name: str) -> Use:
    def use(path: Path) -> None:
        with open_frames(path, name, scratch=path.parent) as frames:
            frames.take(range(min(len(frames), 20)))

    return use


def _reading(backend: str, planes: str) -> Use:
    def use(path: Path) -> None:
        with VideoReader(path, backend=backend, planes=planes, threads=1) as reader:
            for _ in islice(reader, 20):
                pass

    return use


def _read_by_demo(path: Path) -> None:
    """Read a folder of two pictures as ``sr-demo --images`` does."""
    (path.parent / f"other{path.suffix}").write_bytes(path.read_bytes())
    for source in of_folder(path.parent):
        source.load()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]), RecordingCases)
