"""A third study, in small: does a deeper net recognise drawn shapes better? Two nets, one table, one figure.

It is what somebody writes who reproduces another paper: settings, published numbers, questions, stages, results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import torch

from caffe_compat import load_net
from caffe_compat.formats.files import new_hdf5, parse_text
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.document import Block, Column, Figure, Report, Section, Table, Text, number, row
from lq_emotion.common.json_files import read_record, write_json
from lq_emotion.common.lists import write_list
from lq_emotion.common.progress import Say
from lq_emotion.common.records import Record
from lq_emotion.common.settings import option
from lq_emotion.report.build import write_report
from lq_emotion.studies.questions import Question, questions_table
from lq_emotion.training.losses import read_curves
from lq_emotion.training.run import Run, train
from lq_emotion.workflow.stages import Stage
from lq_emotion.workflow.study import Study, StudySettings

PUBLISHED = {"shallow": 0.80, "deep": 0.90}
QUESTIONS = (Question("width", "“a few units”", switches=("width",)), Question("noise", "", answer="uniform"))
SIDE, CLASSES = 8, 2
NETS = {"shallow": (), "deep": ("hidden",)}


@dataclass(frozen=True, kw_only=True)
class ThirdSettings(StudySettings):
    """Settings of the study."""

    images: int = option(200, "images to draw, a fifth of them to test with", least=10)
    width: int = option(16, "units of the hidden layer", least=1)
    iterations: int = option(200, "iterations of each training", least=1)


@dataclass(frozen=True)
class NetResult(Record):
    """A net's accuracy, and its training loss by iteration."""

    net: str
    accuracy: float
    loss: Mapping[int, float]


@dataclass(frozen=True)
class ThirdResults(Record):
    """What the study measured."""

    settings: ThirdSettings
    nets: tuple[NetResult, ...]


def stages(settings: ThirdSettings) -> list[Stage[None]]:
    data = tuple(settings.out / "data" / f"{phase}.{kind}" for phase in ("train", "test") for kind in ("h5", "txt"))
    drawn = {"images": settings.images, "seed": settings.seed}
    todo = [Stage("draw", partial(draw, settings), drawn, (), data)]
    for net, hidden in NETS.items():
        run = run_of(settings, net)
        made = {
            "iterations": settings.iterations,
            "threads": settings.threads,
            "width": settings.width if hidden else 0,
        }
        weights, result = run.snapshot(settings.iterations), run.folder / "result.json"
        todo.append(Stage(f"train {net}", partial(train_net, settings, net), made, data, (weights,)))
        todo.append(Stage(f"test {net}", partial(test_net, settings, net), {}, (weights, *data), (result,)))
    return todo


def run_of(settings: ThirdSettings, net: str) -> Run:
    return Run(settings.out / "runs" / net, net, net)


def draw(settings: ThirdSettings, say: Say) -> None:
    """Draw horizontal and vertical bars in noise."""
    rng = np.random.default_rng(settings.seed)
    counts = {"test": settings.images // 5, "train": settings.images - settings.images // 5}
    for phase, count in counts.items():
        labels = rng.integers(0, CLASSES, count)
        images = rng.uniform(0, 0.8, (count, 1, SIDE, SIDE)).astype(np.float32)
        for image, label in zip(images, labels, strict=True):
            place = rng.integers(SIDE)
            image[0, place if label else slice(None), slice(None) if label else place] += 0.5
        path = settings.out / "data" / f"{phase}.h5"
        with new_hdf5(path) as file:
            file.do(partial(fill, images=images, labels=labels.astype(np.float32)))
        write_list([path], path.with_suffix(".txt"))
        say(f"{phase}: {count} images")


def fill(file: h5py.File, images: np.ndarray, labels: np.ndarray) -> None:
    file["data"], file["label"] = images, labels


def definition(settings: ThirdSettings, net: str, source: Path | None) -> pb.NetParameter:
    """Return a net: for training with a source of data, else to apply."""
    bottom, layers = "data", ""
    if source is None:
        layers += f'input: "data" input_dim: 1 input_dim: 1 input_dim: {SIDE} input_dim: {SIDE}\n'
    else:
        layers += (
            f'layer {{ name: "data" type: "HDF5Data" top: "data" top: "label" hdf5_data_param {{ source: "{source}" '
        )
        layers += "batch_size: 20 } }\n"
    filler = 'weight_filler { type: "xavier" }'
    for name in NETS[net]:
        layers += f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" '
        layers += f"inner_product_param {{ num_output: {settings.width} {filler} }} }}\n"
        layers += f'layer {{ name: "relu" type: "ReLU" bottom: "{name}" top: "{name}" }}\n'
        bottom = name
    layers += f'layer {{ name: "score" type: "InnerProduct" bottom: "{bottom}" top: "score" '
    layers += f"inner_product_param {{ num_output: {CLASSES} {filler} }} }}\n"
    if source is not None:
        layers += 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }\n'
    return parse_text(layers, pb.NetParameter)


def train_net(settings: ThirdSettings, net: str, say: Say) -> None:
    run, data = run_of(settings, net), settings.out / "data"
    solver = pb.SolverParameter(
        net=str(run.folder / "net.prototxt"), snapshot_prefix=str(run.prefix), type="Adam", base_lr=0.01,
        lr_policy="fixed", momentum=0.9, momentum2=0.999, max_iter=settings.iterations, display=1,
        snapshot=settings.iterations, random_seed=settings.seed,
    )  # fmt: skip
    message = definition(settings, net, data / "train.txt")
    train(run, message, solver, say, inputs=[data / "train.h5"], device=settings.device)


def test_net(settings: ThirdSettings, net: str, say: Say) -> None:
    run = run_of(settings, net)
    loaded = load_net(definition(settings, net, None), run.snapshot(settings.iterations))
    with h5py.File(settings.out / "data" / "test.h5") as file:
        images, labels = file["data"][:], file["label"][:]
    with torch.no_grad():
        answers = loaded.forward_dict({"data": torch.from_numpy(images)})["score"].argmax(dim=1).numpy()
    accuracy = float(np.mean(answers == labels))
    curves = read_curves(run.log, settings.iterations)
    write_json(NetResult(net, accuracy, curves.train).to_json(), run.folder / "result.json")
    say(f"accuracy {accuracy:.3f}")


def results(settings: ThirdSettings, _seconds: Mapping[str, float | None]) -> ThirdResults:
    found = tuple(read_record(run_of(settings, net).folder / "result.json", NetResult) for net in NETS)
    measured = ThirdResults(settings, found)
    write_json(measured.to_json(), settings.out / "study.json")
    report = Report(
        "Bars", (Text("Synthetic: the images are drawn.", "warning"),),
        (Section("Accuracies", tuple(blocks(measured))), Section("Questions", (questions(settings),))),
    )  # fmt: skip
    write_report(report, settings.out / "report")
    return measured


def result_files(settings: ThirdSettings) -> list[Path]:
    return [settings.out / name for name in ("study.json", "report/report.html", "report/report.md")]


def blocks(measured: ThirdResults) -> Iterator[Block]:
    columns = (Column("Net", number=False), Column("here"), Column("paper"))
    rows = (row(one.net, number(one.accuracy), number(PUBLISHED[one.net])) for one in measured.nets)
    yield Table("**Table 1.** Accuracy on drawn test images, here and in the paper.", columns, tuple(rows))
    yield Figure("losses", losses(measured), "**Figure 1.** Training losses.", "loss by iteration")


def losses(measured: ThirdResults) -> bytes:
    import io

    from matplotlib.figure import Figure as Canvas

    canvas, png = Canvas(figsize=(5, 3)), io.BytesIO()
    axes = canvas.subplots()
    for one in measured.nets:
        axes.plot(list(one.loss), list(one.loss.values()), label=one.net)
    axes.legend()
    canvas.savefig(png, format="png")
    return png.getvalue()


def questions(settings: ThirdSettings) -> Table:
    def here(question: Question) -> str:
        return question.answer or ", ".join(str(getattr(settings, name)) for name in question.switches)

    return questions_table("What the text leaves open.", QUESTIONS, here)


STUDY = Study("third", stages, results, result_files)
