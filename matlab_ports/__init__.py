"""Ports of MATLAB functions and of the authors' MATLAB scripts, which compute MATLAB's numbers.

Every function or script has a file of its name. Functions that draw random numbers take a `RandStream`.
"""

import sys

try:
    from matlab_ports._support.errors import PortError
    from matlab_ports.eval_video import eval_video
    from matlab_ports.generate_h5 import generate_h5
    from matlab_ports.generate_test import generate_test
    from matlab_ports.generate_train import Written, generate_train
    from matlab_ports.im2double import im2double
    from matlab_ports.imread import imread
    from matlab_ports.imresize import imresize
    from matlab_ports.matfile import loadmat, savemat
    from matlab_ports.modcrop import modcrop
    from matlab_ports.prepare_dataset import prepare_dataset
    from matlab_ports.prepare_h5_files import prepare_h5_files
    from matlab_ports.randstream import RandStream
    from matlab_ports.rgb2ycbcr import rgb2ycbcr
    from matlab_ports.run_eval import run_eval
    from matlab_ports.store2hdf5 import store2hdf5
    from matlab_ports.videoreader import VideoReader
    from matlab_ports.writeh5file import writeh5file
except KeyboardInterrupt:
    if sys.argv[:1] != ["-m"]:  # Python's value while `python -m matlab_ports` imports this package first
        raise
    sys.stderr.write("matlab_ports: error: interrupted\n")
    sys.exit(130)

__all__ = [
    "PortError",
    "RandStream",
    "VideoReader",
    "Written",
    "eval_video",
    "generate_h5",
    "generate_test",
    "generate_train",
    "im2double",
    "imread",
    "imresize",
    "loadmat",
    "modcrop",
    "prepare_dataset",
    "prepare_h5_files",
    "rgb2ycbcr",
    "run_eval",
    "savemat",
    "store2hdf5",
    "writeh5file",
]
