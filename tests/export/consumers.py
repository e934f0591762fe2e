"""Programs that use exported files as strangers do: in processes that cannot import this package."""

import subprocess
import sys
from pathlib import Path

import numpy as np

_ALONE = """
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"caffe_compat", "lq_emotion", "matlab_ports", "google"}:
            raise ImportError("a consumer imports " + name)
sys.meta_path.insert(0, Refuse())
import numpy as np, torch
"""

PT2 = """
run = torch.export.load(file).module()
"""

PYTHON = """
import os
sys.path.insert(0, os.path.dirname(file))
run = __import__(os.path.basename(file).removesuffix(".py")).load()
"""


def outputs(consumer: str, file: Path, inputs: dict[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    """Run a consumer's code, which makes `run` from `file`, on inputs in the net's order; return what it answers.

    A single output has the key "".
    """
    np.savez(folder / "in.npz", **inputs)
    code = f"""{_ALONE}
file, folder = sys.argv[1:]
{consumer}
with torch.no_grad(), np.load(folder + "/in.npz") as record:
    tops = run(*(torch.from_numpy(record[name]) for name in record.files))
tops = tops if isinstance(tops, dict) else {{"": tops}}
np.savez(folder + "/out.npz", **{{"top/" + name: top.numpy() for name, top in tops.items()}})
"""
    command = [sys.executable, "-I", "-c", code, str(file), str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "out.npz") as record:
        return {name.removeprefix("top/"): record[name] for name in record.files}
