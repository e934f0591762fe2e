"""Cases of videos as `predict` and `degrade` meet them: damaged containers, and names that hold any bytes.

As a module it is the worker: ``python -m tests.fuzz.containers SEED START STOP FOLDER``.
"""

import contextlib
import csv
import io
import logging
import os
import random
import re
import shutil
import sys
from pathlib import Path

from lq_emotion.cli import main as command
from lq_emotion.nets.known.outputs import Labels
from lq_emotion.predict.run import predict
from lq_emotion.predict.settings import PredictSettings
from lq_emotion.video.sources import find_sources
from tests.fuzz.media import damaged
from tests.fuzz.worker import main
from tests.lq_emotion.predict.instruments import estimator, frames_with_squares, instruments
from tests.lq_emotion.video.clips import write_clip

CONTAINERS = {
    "mp4": ("libx264", "yuv420p"), "mov": ("libx264", "yuv420p"), "mkv": ("libx264", "yuv420p"),
    "ts": ("libx264", "yuv420p"), "h264": ("libx264", "yuv420p"), "webm": ("libvpx", "yuv420p"),
    "avi": ("mjpeg", "yuvj420p"), "wmv": ("wmv2", "yuv420p"), "flv": ("flv", "yuv420p"), "gif": ("gif", "rgb8"),
}  # fmt: skip
NAME = "name"
"""The kind of the cases whose file is whole and whose name is odd; one in eleven."""
PARTS = (
    b"\xff\xfe", b"\x80", b"\xc3", b"\x1b[31m", b"\x1b]0;x\x07", b"\r", b"\n", b"\t", b"\x7f", b"\xe2\x80\xae", b"\xe2\x80\xa8",
    b"<script>alert(1)</script>", b"&amp;", b"|", b"`", b"$(x)", b"'", b'"', b"\\", b"*", b"[a]", b"%s", b"{0}", b" ",
    b"-", b"--out", b".", b"\xf0\x9f\x98\x80", "é".encode(), b"a" * 60, b"=1+1", b",", b";", b"#",
)  # fmt: skip
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e\ud800-\udfff]")


class ContainerCases:
    """The cases of a seed, in a folder of their own."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.folder = seed, folder
        self.good = {}
        for suffix, (codec, pix_fmt) in CONTAINERS.items():
            path = write_clip(folder / f"good.{suffix}", frames_with_squares(12), codec=codec, pix_fmt=pix_fmt)
            self.good[suffix] = path.read_bytes()
        self.instruments = instruments(estimator(folder, Labels(("happy", "sad"))))
        logging.getLogger("lq_emotion").setLevel(logging.DEBUG)  # the traceback of what stopped a source
        for path in folder.glob("good.*"):  # what is imported at its first use is no case's memory
            self._use(path, page=True)

    def run(self, number: int) -> tuple[str, Path, bool]:
        """Make the file of a case and use it; return its kind, the file, and whether `predict` took it."""
        rng = random.Random(f"{self.seed}:{number}")
        place = self.folder / "case"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        if number % 11 == 10:
            path = place / os.fsdecode(_name(rng) + b".mp4")
            path.write_bytes(self.good["mp4"])
            assert self._use(path, page=True), f"{path.name!r} was not read"
            return NAME, path, True
        suffix = rng.choice(list(CONTAINERS))
        path = place / f"case.{suffix}"
        path.write_bytes(damaged(self.good[suffix], rng))
        return suffix, path, self._use(path, page=rng.random() < 0.1)

    def _use(self, path: Path, *, page: bool) -> bool:
        """Estimate and degrade a video; tell whether its frames were estimated."""
        lines: list[str] = []
        settings = PredictSettings(overlay=True, page=page)
        out = path.parent / "out"
        (outcome,) = predict(find_sources([str(path)]), settings, out, instruments=self.instruments, say=lines.append)
        _require_one_line("\n".join(lines))
        if "stopped by" in outcome.error:
            raise RuntimeError(outcome.error)
        if outcome.status != "failed":
            _require_files(outcome.files)
        degraded = path.parent / "degraded.mp4"
        error, printed = io.StringIO(), io.StringIO()
        with contextlib.redirect_stderr(error), contextlib.redirect_stdout(printed):
            code = command(["data", "degrade", "--scale", "2", "--out", str(degraded), "--", str(path)])
        assert code in (0, 1), f"exit code {code}"
        assert degraded.is_file() == (code == 0), "a file of a failed command, or none of one that ended well"
        if code:
            _require_one_line(error.getvalue().removesuffix("\n"))
        return outcome.status == "done"


def _name(rng: random.Random) -> bytes:
    parts = b"".join(rng.choice(PARTS) for _ in range(rng.randint(1, 4)))
    return b"n" + parts.replace(b"/", b"")[:200]


def _require_one_line(text: str) -> None:
    if not text or "\n" in text or _CONTROL.search(text):
        raise RuntimeError(f"not one printable line: {text!r}")


def _require_files(files: tuple[Path, ...]) -> None:
    """Require rows in the order of their times, and a page without markup from names."""
    for file in files:
        if file.suffix == ".csv":
            with file.open(encoding="utf-8", newline="") as stream:
                times = [float(row["time"]) for row in csv.DictReader(stream)]
            assert times == sorted(times), "rows out of order"
        if file.suffix == ".html":
            page = file.read_text(encoding="utf-8")
            assert "<script" not in page
            assert not _CONTROL.search(page)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]), ContainerCases)
