"""Resolve names of sources (files, folders, patterns, cameras, streams, stdin) to readers of frames."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from caffe_compat.errors import DataError, FileError
from lq_emotion.common.lists import natural_key
from lq_emotion.common.records import Record
from lq_emotion.video.camera import Camera
from lq_emotion.video.container import PIPE, Video
from lq_emotion.video.frames import Selection, Source
from lq_emotion.video.images import Images

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
VIDEOS = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp"}
    | {".ogv", ".h264", ".264", ".h265", ".265", ".hevc", ".ivf", ".vob", ".mxf", ".asf", ".gif"}
)
OVERLAY = ".overlay.mp4"  # what `predict` writes; no source unless it is named itself
STDIN = "-"
_STDIN_FILE = "/dev/stdin"
_CAMERA = re.compile(r"camera:(\d+)")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


class Kind(StrEnum):
    """Kind of source."""

    VIDEO = "video"
    IMAGES = "images"
    CAMERA = "camera"
    STREAM = "stream"
    STDIN = "stdin"


@dataclass(frozen=True)
class SourceName(Record):
    """A source that is not open yet; it can be sent to another process."""

    kind: Kind
    address: str = ""
    """Path of a video, number of a camera, or URL; empty for images and stdin."""
    paths: tuple[Path, ...] = ()
    """Files of the images."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read; none where the frames come from elsewhere."""
        return (Path(self.address),) if self.kind is Kind.VIDEO else self.paths

    @property
    def stem(self) -> str:
        """A name for files about the source."""
        if self.kind is Kind.VIDEO:
            return Path(self.address).stem
        if self.kind is Kind.IMAGES:
            return self.paths[0].stem if len(self.paths) == 1 else self.paths[0].resolve().parent.name or "images"
        return self.kind.value + (f"-{self.address}" if self.kind is Kind.CAMERA else "")

    def open(self, selection: Selection | None = None, *, timeout: float = 10.0) -> Source:
        """Open the source; a stream that is silent for `timeout` seconds counts as stalled."""
        if self.kind is Kind.IMAGES:
            return Images(self.paths, selection)
        if self.kind is Kind.CAMERA:
            return Camera(int(self.address), selection)
        return Video(_stdin() if self.kind is Kind.STDIN else self.address, selection, timeout=timeout)


def _stdin() -> str:
    """Return the address of stdin; a file that is redirected can be searched, as some MP4 need."""
    with suppress(OSError):
        if stat.S_ISREG(os.fstat(0).st_mode) and Path(_STDIN_FILE).exists():
            return _STDIN_FILE
    return PIPE


def find_sources(names: Iterable[str]) -> list[SourceName]:
    """Return the sources that a user names, in their order; the contents of folders and patterns in natural order.

    A name is a file, a folder (its subfolders do not count), a pattern such as ``clips/*.mp4``, ``camera:0``, a URL, or
    ``-``. The images among them form a source per folder, after all others. Names that lead to no video or image, and
    those given twice, are refused.
    """
    names = list(names)
    items = [] if "" in names else list(_expand(names))
    if not items:
        raise DataError("no source", code="empty", hint="name a video, an image, a folder, camera:0, a URL or -")
    named: set[Path | SourceName] = set()
    sources: list[SourceName] = []
    images: dict[Path, list[Path]] = {}
    for item in items:
        if item in named:
            raise DataError("given twice", code="duplicate", field="source", value=_shown(item))
        named.add(item)
        if isinstance(item, SourceName):
            sources.append(item)
        elif item.suffix.lower() in IMAGES:
            images.setdefault(item.parent, []).append(item)
        else:
            sources.append(SourceName(Kind.VIDEO, str(item)))
    return sources + [SourceName(Kind.IMAGES, paths=tuple(paths)) for paths in images.values()]


def _shown(item: Path | SourceName) -> str:
    return str(item) if isinstance(item, Path) else item.address or item.kind.value


def _expand(names: Iterable[str]) -> Iterator[Path | SourceName]:
    for name in names:
        if name == STDIN:
            yield SourceName(Kind.STDIN)
        elif camera := _CAMERA.fullmatch(name):
            yield SourceName(Kind.CAMERA, camera.group(1))
        elif _URL.match(name):
            yield SourceName(Kind.STREAM, name)
        else:
            yield from _files(Path(name))


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from _chosen(path.iterdir(), path)
    elif path.exists():
        yield path
    elif glob.has_magic(str(path)):
        yield from _chosen(map(Path, glob.glob(str(path), recursive=True)), path)  # noqa: PTH207  (any pattern, absolute ones too)
    else:
        raise FileError("no such file or folder", code="file-missing", file=path)


def _chosen(files: Iterable[Path], where: Path) -> Iterator[Path]:
    suffixes = IMAGES | VIDEOS
    known = (file for file in files if file.suffix.lower() in suffixes and not file.name.endswith(OVERLAY))
    chosen = [file for file in known if file.is_file()]
    if not chosen:
        hint = f"known suffixes: {' '.join(sorted(suffixes))}; others are read when named one by one"
        raise FileError("contains neither videos nor images", code="empty", file=where, hint=hint)
    yield from sorted(chosen, key=lambda file: (str(file.parent), natural_key(file.name)))
