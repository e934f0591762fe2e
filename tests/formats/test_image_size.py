"""Images that declare too many pixels are refused from their header by every command and function that reads images."""

import io
import re
import struct
import zlib

import numpy as np
import pytest

from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.cli import main
from caffe_compat.data.decode import COLOR, decode
from caffe_compat.data.source import Origin
from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.image_size import TooManyPixelsError, open_image
from caffe_compat.pycaffe import io as caffe_io
from lq_emotion.cli import main as lq_emotion
from matlab_ports import PortError, imread
from matlab_ports.__main__ import main as matlab_ports

TOO_MANY = re.compile(r"more than 89478485|exceeds limit of (89478485|178956970)|can hold")
NET = 'layer {{ name: "d" type: "ImageData" top: "data" top: "label" image_data_param {{ source: "list.txt" {} }} }}'


def png(width, height, lines=b""):
    """Return a gray PNG of zeros, or of the given deflated bytes."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = lines or zlib.compress(bytes((width + 1) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


SIZES = {"900 million": (30000, 30000), "100 million": (10000, 10000), "64 million in a thousand bytes": (8000, 8000)}


@pytest.fixture(params=SIZES.values(), ids=list(SIZES))
def bomb(request, folder):
    (folder / "images").mkdir()
    for name in ("a.png", "b.png"):
        (folder / "images" / name).write_bytes(png(*request.param, zlib.compress(bytes(30001), 9)))
    write_net(folder, "")
    return folder / "images/a.png"


def write_net(folder, size):
    (folder / "list.txt").write_text("images/a.png 0\n")
    (folder / "solver.prototxt").write_text('net: "net.prototxt" base_lr: 1 lr_policy: "fixed" max_iter: 1\n')
    (folder / "net.prototxt").write_text(NET.format(size))


def test_every_command_refuses_a_huge_image(bomb, capsys):
    commands = {
        "train": lambda: main(["train", "--solver=solver.prototxt"]),
        "study sr": lambda: lq_emotion(["study", "sr", "--images=images", "--out=out"]),
        "generate_train": lambda: matlab_ports(["generate_train", "--folder=images", "--savepath=x.h5", "--pattern=*"]),
    }
    for name, command in commands.items():
        assert command() == 1, name
        error = capsys.readouterr().err
        assert TOO_MANY.search(error), error
        assert "a.png" in error
    assert not (bomb.parents[1] / "x.h5").exists()


def test_convert_imageset_skips_a_huge_image_or_stops_if_strict(bomb, capsys):
    pytest.importorskip("lmdb")
    for words, ending in (([], "no image could be read"), (["--strict"], "reduce the image first")):
        assert main(["convert_imageset", *words, "./", "list.txt", "db"]) == 1
        error = capsys.readouterr().err
        assert TOO_MANY.search(error), error
        assert ending in error
        assert not (bomb.parents[1] / "db").exists()


def test_every_function_refuses_a_huge_image(bomb):
    for read, error in (
        (imread, PortError),
        (caffe_io.load_image, CaffeCompatError),
        (open_image, TooManyPixelsError),
    ):
        with pytest.raises(error, match=TOO_MANY):
            read(bomb)
    with pytest.raises(TooManyPixelsError, match=TOO_MANY):
        open_image(io.BytesIO(bomb.read_bytes()))


def test_a_chunk_longer_than_its_file_allocates_no_memory():
    content = png(8, 8)
    after_the_last_chunk = b"\xff" * 20
    assert decode(content + after_the_last_chunk, COLOR, Origin("")).shape == (8, 8, 3)
    place = content.index(b"IDAT") - 4
    content = content[:place] + b"\xff\xff\xff\x20" + content[place + 4 :]
    with pytest.raises(CaffeCompatError, match="truncated or damaged"):
        decode(content, COLOR, Origin(""))


@pytest.mark.parametrize("size", [(2_000_000, 4_000), (4_000, 2_000_000)])
def test_a_huge_size_to_resize_to_is_refused_first(tmp_path, monkeypatch, size, capsys):
    pytest.importorskip("lmdb")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(png(8, 8))
    write_net(tmp_path, f"new_height: {size[0]} new_width: {size[1]}")
    problem = f"{size[1]} x {size[0]} pixels are more than 89478485"
    words = [f"--resize_height={size[0]}", f"--resize_width={size[1]}"]
    assert main(["convert_imageset", *words, "./", "list.txt", "db"]) == 1
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "db").exists()
    assert main(["train", "--solver=solver.prototxt"]) == 1
    assert f"new_height = {size[0]}: {problem}" in capsys.readouterr().err
    with pytest.raises(CaffeCompatError, match=f"resize = .*{problem}"):
        Preprocessing(resize=size)


def test_a_large_image_of_one_colour_is_read(tmp_path):
    (tmp_path / "a.png").write_bytes(png(6000, 5000))
    assert (tmp_path / "a.png").stat().st_size < 31_000
    assert imread(tmp_path / "a.png").shape == (5000, 6000)
    assert decode((tmp_path / "a.png").read_bytes(), COLOR, Origin("")).shape == (5000, 6000, 3)
    with open_image(tmp_path / "a.png") as image:
        assert not np.asarray(image).any()
