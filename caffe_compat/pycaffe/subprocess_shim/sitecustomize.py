"""Start-up module of child processes of a script run by caffe_compat.pycaffe.

Replaces an old ``caffe_pb2.py``, which the process may import before ``caffe``, and then runs the sitecustomize of the
Python installation, if it has one.
"""

import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path

_folder = Path(__file__).resolve().parent
_searched = list(sys.path)
if importlib.util.find_spec("caffe_compat") is None:  # run from a checkout
    sys.path.append(str(_folder.parents[2]))

from caffe_compat.schema.pb2_fallback import install  # noqa: E402  (the path must be set first)

sys.path[:] = _searched
install()
_next = PathFinder.find_spec("sitecustomize", [entry for entry in _searched if Path(entry).resolve() != _folder])
if _next is not None and _next.loader is not None:
    _next.loader.exec_module(importlib.util.module_from_spec(_next))
