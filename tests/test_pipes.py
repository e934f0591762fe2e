"""A named pipe, whose writer may never come, is refused wherever a file is opened; an open pipe is read."""

import os
import subprocess
import sys

import cv2
import numpy as np

from tests.conftest import ROOT

READERS = {
    "engine": """
        from caffe_compat.formats.text import parse_text
        from caffe_compat.build.preprocess import read_preprocessing
        from caffe_compat.data import open_source
        from caffe_compat.data.c_random import CRand
        from caffe_compat.pycaffe.image_io import load_image
        from caffe_compat.schema import caffe_pb2 as pb
        from caffe_compat.tools.imageset import Options, convert_imageset, read_image_list, records
        from caffe_compat.tools.logs import read_log

        def layer(type, param):
            text = f'layer {{ name: "x" type: "{type}" top: "a" top: "b" {param} }}'
            return open_source(parse_text(text, pb.NetParameter).layer[0], base_dir=folder, rng=CRand())

        (folder / "images.txt").write_text("pipe 0\\n")
        (folder / "windows.txt").write_text("# 0\\npipe\\n3\\n8\\n8\\n2\\n1 1 0 0 7 7\\n0 0 0 0 7 7\\n")
        (folder / "files.txt").write_text("pipe\\n")
        window = "transform_param { crop_size: 8 } window_data_param { batch_size: 1 source: "
        strict = Options(strict=True)
        readers = [
            lambda: layer("ImageData", 'image_data_param { source: "pipe" batch_size: 1 }'),
            lambda: layer("ImageData", 'image_data_param { source: "images.txt" batch_size: 1 }'),
            lambda: layer("WindowData", window + '"pipe" }'),
            lambda: layer("WindowData", window + '"windows.txt" }').next(),
            lambda: layer("HDF5Data", 'hdf5_data_param { source: "pipe" batch_size: 1 }'),
            lambda: layer("HDF5Data", 'hdf5_data_param { source: "files.txt" batch_size: 1 }'),
            lambda: layer("Data", 'data_param { source: "pipe" backend: LMDB batch_size: 1 }'),
            lambda: convert_imageset(f"{folder}/", [("pipe", 0)], folder / "lmdb", strict),
            lambda: read_image_list(pipe),
            lambda: next(records(pipe)),
            lambda: read_log(pipe),
            lambda: load_image(pipe),
            lambda: read_preprocessing(pipe),
        ]
    """,
    "application": """
        from lq_emotion.common.fingerprints import file_sha256
        from lq_emotion.common.text_table import Table
        from lq_emotion.datasets.avec.partitions import read_partitions
        from lq_emotion.datasets.avec.gold import read_arff
        from lq_emotion.faces.boxfiles import read_boxes
        from lq_emotion.studies.robust_lq.image_sources import _read

        tables = [folder / "boxes.csv", folder / "boxes.mat"]
        for path in tables:
            path.symlink_to(pipe)
        readers = [
            lambda: file_sha256(pipe),
            lambda: read_partitions(pipe),
            lambda: Table.read(pipe),
            lambda: read_arff(pipe),
            lambda: read_boxes(tables[0]),
            lambda: read_boxes(tables[1]),
            lambda: _read(pipe),
        ]
    """,
    "ports": """
        from matlab_ports.imread import imread
        from matlab_ports.matfile import loadmat, open_frames, variable_names
        from matlab_ports.videoreader import VideoReader
        from matlab_ports._support.frame_time import frame_time

        readers = [
            lambda: imread(pipe),
            lambda: loadmat(pipe),
            lambda: open_frames(pipe),
            lambda: variable_names(pipe),
            lambda: frame_time(pipe),
            lambda: VideoReader(pipe),
        ]
    """,
}
RUN = """
import sys
from pathlib import Path
from textwrap import dedent
from caffe_compat.errors import CaffeCompatError

folder = Path(sys.argv[1])
pipe = folder / "pipe"
for code in sys.argv[2:]:
    exec(dedent(code))
    for number, reader in enumerate(readers):
        try:
            reader()
            print(number, "was read")
        except CaffeCompatError as error:
            print(error.code, "is a named pipe" in error.problem or error.problem)
"""


def python(*argv, **options):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "models")])}
    return subprocess.run(
        [sys.executable, *map(str, argv)],
        capture_output=True, text=True, check=False, timeout=300, env=environment, **options,
    )  # fmt: skip


def test_a_named_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    done = python("-c", RUN, tmp_path, *READERS.values())
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()) == {"wrong-format True"}, done.stdout


def test_an_open_pipe_is_read(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    tool = ("-m", "caffe_compat", "convert_imageset", f"{tmp_path}/", "/dev/stdin", tmp_path / "lmdb")
    done = python(*tool, input="a.png 0\n")
    assert done.returncode == 0, done.stderr
    assert "Processed 1 files." in done.stderr
