"""A genuine Caffe as a third engine, in its own process, because its protobuf conflicts with ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from caffe_compat.errors import NetError, WeightsError
from lq_emotion.verify.engines import Batch, Blobs, caffemodel, deploy_text, last_layers
from lq_emotion.verify.networks import Network
from lq_emotion.verify.weights import LoadedWeights

_SECONDS = 600
# Caffe's Python may be as old as 2.7
_PROBE = """
import json, sys
try:
    import caffe
    core = getattr(getattr(caffe, "_caffe", None), "__file__", None)
    probe = {"file": getattr(caffe, "__file__", None), "core": core, "version": getattr(caffe, "__version__", None)}
    probe["shim"] = any(name.split(".")[0] == "caffe_compat" for name in sys.modules)
except BaseException as error:
    probe = {"error": "%s: %s" % (type(error).__name__, error)}
sys.stdout.write("\\nPROBED " + json.dumps(probe) + "\\n")
"""
_RUN = """
import sys
import numpy as np
import caffe
deploy, weights, inputs, outputs = sys.argv[1:]
caffe.set_mode_cpu()
net = caffe.Net(deploy, weights, caffe.TEST)
net.blobs["data"].data[...] = np.load(inputs)
net.forward()
np.savez(outputs, **dict((name, np.array(blob.data)) for name, blob in net.blobs.items()))
"""


@dataclass(frozen=True)
class Caffe:
    """A Python that may have Caffe: the interpreter, and Caffe's version or why it cannot be used."""

    python: str
    version: str | None
    reason: str = ""

    def run(self, weights: LoadedWeights, network: Network, inputs: Batch) -> Blobs:
        """Return every blob as Caffe computes it on the CPU."""
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "deploy.prototxt").write_text(deploy_text(network, len(inputs)), encoding="utf-8")
            np.save(folder / "inputs.npy", inputs)
            file = caffemodel(weights, folder).resolve()
            done = _python(self.python, _RUN, folder, "deploy.prototxt", str(file), "inputs.npy", "outputs.npz")
            if done.returncode or not (folder / "outputs.npz").is_file():
                lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
                raise WeightsError(f"Caffe cannot run it: {lines[-1]}", code="unsupported", file=weights.name)
            with np.load(folder / "outputs.npz") as outputs:
                return {blob: outputs[blob] for blob in last_layers(network) if blob in outputs.files}


def find_caffe(python: str | None = None) -> Caffe:
    """Look for a genuine Caffe in this Python, or in that of another interpreter, which must have one.

    This project's own stand-in for caffe does not count: it would agree with itself.
    """
    chosen = python or sys.executable
    caffe = _probed(chosen)
    if python and caffe.version is None:
        hint = "name a Python in which `import caffe` works"
        raise NetError(caffe.reason, code="dependency-missing", field="--caffe", value=python, hint=hint)
    return caffe


def _probed(python: str) -> Caffe:
    with TemporaryDirectory() as folder:
        try:
            done = _python(python, _PROBE, Path(folder))
        except OSError as error:
            return Caffe(python, None, f"cannot be started: {error.strerror or error}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("PROBED ")]
    if not lines:
        return Caffe(python, None, f"it ends with exit code {done.returncode} while it imports caffe")
    probe: dict[str, Any] = json.loads(lines[-1].removeprefix("PROBED "))
    if "error" in probe:
        return Caffe(python, None, probe["error"])
    if probe["shim"] or not str(probe["core"]).endswith((".so", ".pyd", ".dylib")):
        return Caffe(python, None, f"{probe['file']} is not genuine: it has no compiled _caffe of its own")
    return Caffe(python, probe["version"] or "of unknown version")


def _python(python: str, code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a folder without Python files, so that none is imported instead of a module."""
    environment = {**os.environ, "GLOG_minloglevel": "2"}
    if "PYTHONPATH" in environment:
        folders = filter(None, environment["PYTHONPATH"].split(os.pathsep))
        environment["PYTHONPATH"] = os.pathsep.join(str(Path(entry).absolute()) for entry in folders)
    command = [python, "-c", code, *arguments]
    try:
        return subprocess.run(  # noqa: S603 (the user's own interpreter)
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"it took more than {_SECONDS} s")
