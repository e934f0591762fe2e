"""The engine imports without the application's dependencies, the ports without torch and without the engine."""

import subprocess
import sys

import pytest

IMPORT_ALL = """
import importlib, pkgutil, sys

package, missing = sys.argv[1], set(sys.argv[2:])

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(name, name=name)

def import_all(name):
    module = importlib.import_module(name)
    inside = pkgutil.iter_modules(getattr(module, "__path__", []))
    return 1 + sum(import_all(f"{name}.{child.name}") for child in inside if child.name not in SKIPPED)

SKIPPED = ("__main__", "subprocess_shim", "compiled")  # commands, a stand-in for `caffe`, and what needs Numba
sys.meta_path.insert(0, Missing())
print(import_all(package))
"""
EXTRAS = (
    "av",
    "distributed",
    "lmdb",
    "mkdocs",
    "numba",
    "onnx",
    "onnxruntime",
    "plyvel",
    "safetensors",
    "skimage",
)


@pytest.mark.parametrize(
    ("package", "missing", "modules"),
    [
        ("caffe_compat", ("lq_emotion", "matlab_ports"), 150),
        ("matlab_ports", ("caffe_compat", "lq_emotion", "torch", "google"), 30),
    ],
)
def test_a_package_imports_without_what_it_does_not_need(package, missing, modules):
    command = [sys.executable, "-c", IMPORT_ALL, package, *missing, *EXTRAS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > modules
