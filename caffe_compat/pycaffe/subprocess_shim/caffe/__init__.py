"""Package ``caffe`` in child processes of a script run by caffe_compat.pycaffe; imports caffe_compat.pycaffe itself."""

import importlib.util
import sys
from pathlib import Path

_folder = Path(__file__).resolve().parents[1]
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _folder]
if importlib.util.find_spec("caffe_compat") is None:  # run from a checkout
    sys.path.append(str(_folder.parents[2]))

from caffe_compat.pycaffe.finder import NAME, install  # noqa: E402

del sys.modules[NAME]
sys.modules[NAME] = install()
