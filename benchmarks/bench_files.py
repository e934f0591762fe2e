"""Reading a caffemodel of VGG-16's size against ``numpy.fromfile`` on the same bytes, in time and memory.

python benchmarks/bench_files.py [--small] [--json]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from caffe_compat.formats.files import BlobStore, parse_text, read_binary, write_binary  # noqa: E402
from caffe_compat.schema.caffe_pb2 import NetParameter  # noqa: E402

# VGG-16 (Simonyan and Zisserman 2015, configuration D): 138,357,544 parameters.
SHAPES = (
    (64, 3, 3, 3), (64, 64, 3, 3), (128, 64, 3, 3), (128, 128, 3, 3), (256, 128, 3, 3), *[(256, 256, 3, 3)] * 2,
    (512, 256, 3, 3), *[(512, 512, 3, 3)] * 5, (4096, 25088), (4096, 4096), (1000, 4096),
)  # fmt: skip
TIME_LIMIT, MEMORY_LIMIT = 1.5, 1.1
CHILD = """
import sys
sys.path.insert(0, sys.argv[2])
from caffe_compat.formats.files import read_binary
from caffe_compat.schema.caffe_pb2 import NetParameter

def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

before = peak()
net, store = read_binary(sys.argv[1], NetParameter)
print(peak() - before)
"""


def make(path, scale):
    """Write random weights in VGG-16's shapes."""
    rng, net, store = np.random.default_rng(0), NetParameter(name="VGG16"), BlobStore()
    for index, shape in enumerate(SHAPES):
        shape = tuple(max(extent // scale, 1) for extent in shape[:2]) + shape[2:]
        layer = net.layer.add(name=f"layer{index}", type="Convolution")
        store.attach(layer.blobs.add(), rng.standard_normal(shape, np.float32))
        store.attach(layer.blobs.add(), rng.standard_normal(shape[:1], np.float32))
    begun = time.perf_counter()
    write_binary(net, path, store)
    return time.perf_counter() - begun


def timed(function):
    begun = time.perf_counter()
    result = function()
    took = time.perf_counter() - begun
    del result
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a 64th of the size, for a quick look")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--repeat", type=int, default=9, help="pairs (default 9)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vgg16.caffemodel"
        write_seconds = make(path, 8 if options.small else 1)
        size = path.stat().st_size
        pairs = []
        for _ in range(options.repeat + 1):  # the first pair warms the page cache
            baseline = timed(lambda: np.fromfile(path, np.uint8))
            pairs.append((baseline, timed(lambda: read_binary(path, NetParameter))))
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(path), str(ROOT)], check=True, capture_output=True, text=True
        )
    text = "".join(
        f'layer {{\n  name: "l{i}"\n  type: "Convolution"\n  bottom: "b"\n  top: "t"\n  convolution_param {{\n'
        f"    num_output: 64\n    kernel_size: 3\n    pad: 1\n  }}\n}}\n"
        for i in range(300)
    )
    result = {
        "bytes": size,
        "fromfile_s": statistics.median(a for a, _ in pairs[1:]),
        "read_binary_s": statistics.median(b for _, b in pairs[1:]),
        "time_ratio": statistics.median(b / a for a, b in pairs[1:]),
        "memory_ratio": int(child.stdout) / size,
        "write_s": write_seconds,
        "prototxt_lines": text.count("\n"),
        "prototxt_s": statistics.median(timed(lambda: parse_text(text, NetParameter)) for _ in range(5)),
    }
    good = options.small or (result["time_ratio"] <= TIME_LIMIT and result["memory_ratio"] <= MEMORY_LIMIT)
    if options.json:
        print(json.dumps({**result, "good": good}))
    else:
        print(f"caffemodel of {size / 2**20:.0f} MiB: numpy.fromfile {result['fromfile_s']:.3f} s")
        print(f"  read_binary {result['read_binary_s']:.3f} s: {result['time_ratio']:.2f} times (limit {TIME_LIMIT})")
        print(f"  extra memory {result['memory_ratio']:.3f} times its size (limit {MEMORY_LIMIT})")
        print(f"  written, synced and renamed in {write_seconds:.2f} s")
        print(f"prototxt of {result['prototxt_lines']} lines: {result['prototxt_s']:.3f} s")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
