"""The cost of data for a training step: computing alone, with batches made between the steps, and made ahead.

python benchmarks/bench_data.py [--small] [--json] [--device cuda]

Two databases, written into a temporary folder: raw digits (1 x 28 x 28, batches of 64, LeNet's first layers) and coded
photographs (JPEG, 3 x 256 x 256, random crop 227, mirror, mean; batches of 16, a convolution). The three ways
take turns in every round, so that a busy machine slows all of them; told are medians of the rounds' means. torch
computes on one core, so that on a machine with two or more the making ahead has one of its own. A last row replaces
the computing by a pause of the same length, as where a GPU does it and the processor has nothing else to do.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import lmdb
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from caffe_compat.data import CRand, Prefetch, open_source  # noqa: E402
from caffe_compat.schema import caffe_pb2 as pb  # noqa: E402

WAYS = ("alone", "between", "ahead")


def write(path, datums):
    with lmdb.open(str(path), map_size=1 << 30) as env, env.begin(write=True) as transaction:
        for number, datum in enumerate(datums):
            transaction.put(b"%08d" % number, datum.SerializeToString())


def digits(folder, count):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    write(
        folder,
        [pb.Datum(channels=1, height=28, width=28, data=p.tobytes(), label=i % 10) for i, p in enumerate(pictures)],
    )
    transform = pb.TransformationParameter(scale=0.00390625)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 20, 5), torch.nn.MaxPool2d(2), torch.nn.Conv2d(20, 50, 5), torch.nn.MaxPool2d(2)
    )
    return transform, 64, net


def photographs(folder, count):
    rng = np.random.default_rng(0)
    datums = []
    for number in range(count):
        coarse = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (256, 256), interpolation=cv2.INTER_CUBIC)
        picture = np.clip(picture + rng.normal(0, 8, picture.shape), 0, 255).astype(np.uint8)
        coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        datums.append(pb.Datum(data=coded, encoded=True, label=number))
    write(folder, datums)
    transform = pb.TransformationParameter(crop_size=227, mirror=True, mean_value=[104, 117, 123])
    return transform, 16, torch.nn.Sequential(torch.nn.Conv2d(3, 24, 11, stride=4), torch.nn.ReLU())


def opened(folder, transform, batch):
    layer = pb.LayerParameter(name="feed", type="Data", top=["data", "label"], phase="TRAIN")
    layer.data_param.MergeFrom(pb.DataParameter(source=str(folder), batch_size=batch, backend=pb.DataParameter.LMDB))
    layer.transform_param.CopyFrom(transform)
    return open_source(layer, rng=CRand(random_seed=1))


def stepper(net, device):
    """Return what one training step does with a batch, and waits for."""

    def step(data):
        net.zero_grad()
        net(data.to(device, non_blocking=True)).square().mean().backward()
        if device != "cpu":
            torch.cuda.synchronize()

    return step


def rounds(sources, step, held, steps, count):
    """Return seconds a step by way, a list of one number a round each."""
    found = {way: [] for way in WAYS}
    for _ in range(count):
        for way in WAYS:
            begun = time.perf_counter()
            for _ in range(steps):
                step(held if way == "alone" else sources[way].next()["data"])
            found[way].append((time.perf_counter() - begun) / steps)
    return found


def measure(name, make, folder, args):
    transform, batch, net = make(folder, 128 if args.small else 256)
    net.to(args.device)
    sources = {
        "between": opened(folder, transform, batch),
        "ahead": Prefetch(opened(folder, transform, batch), 4, pin=args.device != "cpu"),
    }
    held = sources["ahead"].next()["data"]
    step = stepper(net, args.device)
    for _ in range(3):
        step(sources["between"].next()["data"])
    steps, count = (4, 3) if args.small else (8, 7)
    found = {f"{name}, computing": rounds(sources, step, held, steps, count)}
    pause = max(statistics.median(found[f"{name}, computing"]["alone"]), 0.001)
    begun = time.perf_counter()
    for _ in range(10):
        sources["between"].next()
    making = (time.perf_counter() - begun) / 10
    pause = max(pause, 1.1 * making)
    found[f"{name}, waiting"] = rounds(sources, lambda _: time.sleep(pause), held, steps, count)
    sources["ahead"].close()
    return [
        {"case": case, **{way: statistics.median(times) for way, times in ways.items()}, "making": making}
        for case, ways in found.items()
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, make in (("digits", digits), ("photographs", photographs)):
            rows += measure(name, make, Path(folder) / name, args)
    if args.json:
        print(json.dumps(rows))
        return
    print("milliseconds a step               alone   between     ahead   ahead/alone   making a batch")
    for row in rows:
        times = "".join(f"{1000 * row[way]:10.2f}" for way in WAYS)
        print(f"{row['case']:28}{times}{row['ahead'] / row['alone']:14.3f}{1000 * row['making']:17.2f}")


if __name__ == "__main__":
    main()
