"""One switch for each place where the paper and the authors' code disagree.

`AS_CODE` gives the shipped definitions, `AS_PAPER` those of the text, and any mixture is possible:
``replace(AS_CODE, quadrant_pooling=True)``. The builders read the switches that change a net or a solver, the stages of
`lq-emotion study run robust-lq` those that change the data (`data_parts`). `disagreements` quotes paper and code.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from caffe_compat.errors import CaffeCompatError, NetError, did_you_mean, raise_together
from lq_emotion.common.records import Record


@dataclass(frozen=True)
class PaperSwitches(Record):
    """The side of each disagreement to build; the defaults are the code's."""

    input_size: Literal["enlarged", "own"] = "enlarged"
    """``enlarged``: LR faces are enlarged to 96 x 96 again by bicubic interpolation. ``own``: the nets take them at
    their own size, 96/s x 96/s. This needs padded convolutions and quadrant pooling, or nothing remains of a small
    map."""
    luminance: Literal["studio", "gray"] = "studio"
    """``studio``: Y of BT.601, 16 to 235, over 255. ``gray``: the same stretched to 0 to 1."""
    quadrant_pooling: bool = False
    """The third pooling gives 2 x 2, whatever the size of the map; otherwise it has 4 x 4 windows, which give 5 x 5."""
    convolutions: Literal["valid", "padded", "padded_no_bias"] = "valid"
    """``valid``: no padding, with biases. ``padded``: two pixels of padding. ``padded_no_bias``: as Khorrami et al.,
    whose CNN+D the paper inherits."""
    normalisation: Literal["none", "file", "face"] = "none"
    """``none``; ``file``: one mean and one standard deviation for all values of a file, as the code's options do;
    ``face``: mean and standard deviation of each face, by a layer of the net."""
    sr_images: Literal["natural", "faces"] = "natural"
    """Images that super-resolution learns from: ``natural`` (the 91 images) or ``faces``."""
    max_factor: Literal[12, 16] = 12
    """The factor at which super-resolution is trained for Joint-OA."""
    sr_schedule: Literal["code", "paper"] = "code"
    """``code``: 500,000 iterations, rate 0.0001, no decay, slower biases and conv4. ``paper``: 30,000, 0.01, 0.0005."""
    lr_on_plateau: bool = False
    """Divide the rate by ten when the validation loss stops falling (see `plateau`); otherwise it is constant."""
    validation: Literal["dev", "train"] = "dev"
    """The recordings of that loss. ``dev``: the development recordings, on which the nets are scored, too. ``train``: a
    fifth of the training recordings, from which nothing is learnt then (see `plan.validation_part`)."""
    bias_rate: Literal[1, 2] = 2
    """Learning rate of the biases, relative to that of the weights."""
    separate_regressor: bool = False
    """Non-Joint: fully connected layers on the super-resolved face; otherwise on SR-FCN's third convolution."""
    mixture: Literal["one_draw", "each_epoch"] = "one_draw"
    """``one_draw``: each frame has one factor in all epochs. ``each_epoch``: a new draw in each of ten passes."""
    smallest_face: Literal[0, 100] = 100
    """Frames whose box has no more pixels than this in width or height are dropped."""
    loss: Literal["euclidean", "mse", "ccc"] = "euclidean"
    """``euclidean``: the sum of squares over 2 N. ``mse``: the mean of squares. ``ccc``: 1 - CCC, which the paper
    proposes for the future; for valence only."""

    def __post_init__(self) -> None:
        problems: list[CaffeCompatError] = []
        for name, allowed in choices().items():
            value = getattr(self, name)
            if value not in allowed or isinstance(value, bool) is not isinstance(allowed[0], bool):
                hint = f"one of {', '.join(map(repr, allowed))}"
                problems.append(
                    NetError("not a setting of this switch", code="name-unknown", field=name, value=value, hint=hint)
                )
        if not problems and self.input_size == "own" and not (self.padded and self.quadrant_pooling):
            hint = 'set convolutions="padded" (or "padded_no_bias") and quadrant_pooling=True'
            problem = "small faces shrink to nothing in the convolutions and poolings"
            problems.append(NetError(problem, code="conflict", field="input_size", value="own", hint=hint))
        if not problems and self.validation == "train" and not self.lr_on_plateau:
            hint, problem = "set lr_on_plateau=on", "a constant rate needs no validation recordings"
            problems.append(NetError(problem, code="conflict", field="validation", value="train", hint=hint))
        raise_together(problems)

    @property
    def padded(self) -> bool:
        """Whether a convolution gives a map of its bottom's size."""
        return self.convolutions != "valid"

    @property
    def biased(self) -> bool:
        """Whether conv1 to conv3 have biases."""
        return self.convolutions != "padded_no_bias"


def choices() -> dict[str, tuple[object, ...]]:
    """Return the settings of every switch."""
    hints = get_type_hints(PaperSwitches)
    named = {field.name: hints[field.name] for field in fields(PaperSwitches)}
    return {name: get_args(hint) if get_origin(hint) is Literal else (False, True) for name, hint in named.items()}


_DATA_PARTS = {
    "input_size": ("own size",),
    "luminance": ("prepare", "patches"),
    "convolutions": ("patches",),
    "sr_images": ("patches",),
    "max_factor": ("Joint-OA's start",),
    "validation": ("recordings of h5", "faces"),
    "mixture": ("h5 of the mixture",),
    "smallest_face": ("prepare",),
}


def data_parts(name: str, value: object) -> tuple[str, ...]:
    """Return the parts of the study's data that a setting other than the code's changes."""
    return ("h5",) if (name, value) == ("normalisation", "file") else _DATA_PARTS.get(name, ())


def changed_settings(switches: PaperSwitches, *parts: str) -> dict[str, Any]:
    """Return the settings that are not the code's; with `parts`, only those that change one of these data parts."""
    settings = {name: getattr(switches, name) for name in choices()}
    return {
        name: value
        for name, value in settings.items()
        if value != getattr(AS_CODE, name) and (not parts or set(parts) & set(data_parts(name, value)))
    }


def format_setting(value: object) -> str:
    """Format a setting as users type it, with ``on`` and ``off`` for booleans."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def describe_settings(settings: Mapping[str, object]) -> str:
    """Describe settings that are not the code's in a line, as differences from the paper if that is shorter."""
    paper = changed_settings(AS_PAPER)
    names = [name for name in choices() if paper.get(name) != settings.get(name)]
    if len(names) >= len(settings):
        return " ".join(f"{name}={format_setting(value)}" for name, value in settings.items())
    but = " ".join(f"{name}={format_setting(settings.get(name, getattr(AS_CODE, name)))}" for name in names)
    return "as the paper" + (but and f" but {but}")


def parse_setting(assignment: str) -> tuple[str, Any]:
    """Parse an assignment such as ``loss=ccc`` into the switch and its setting; refuse names that do not exist."""
    switches = choices()
    name, _, text = assignment.partition("=")
    if name not in switches:
        hint = did_you_mean(name, switches) or f"one of {', '.join(switches)}"
        raise NetError("unknown switch", code="name-unknown", field="switch", value=name, hint=hint)
    for value in switches[name]:
        if format_setting(value) == text:
            return name, value
    hint = f"one of {', '.join(map(format_setting, switches[name]))}"
    raise NetError("not a setting of this switch", code="name-unknown", field=name, value=text, hint=hint)


AS_CODE = PaperSwitches()
"""The authors' published code: the prototxts shipped with this package."""

AS_PAPER = PaperSwitches(
    input_size="own",
    luminance="gray",
    quadrant_pooling=True,
    convolutions="padded_no_bias",
    normalisation="face",
    sr_images="faces",
    max_factor=16,
    sr_schedule="paper",
    lr_on_plateau=True,
    bias_rate=1,
    separate_regressor=True,
    smallest_face=0,
    loss="mse",
)
"""The text of the paper. It is silent about `mixture`, which stays the code's, and names no recordings for `validation`
but the development set; its CCC loss is a proposal."""


def add_switches(parser: ArgumentParser) -> None:
    """Add ``--as`` and ``--switch``, which `chosen_switches` reads."""
    text = "follow the authors' code or their paper where they disagree (default code); see docs/paper_vs_code.md"
    parser.add_argument("--as", dest="variant", choices=("code", "paper"), default="code", help=text)
    text = "set single switches; overrides --as"
    parser.add_argument(
        "--switch", nargs="+", action="extend", type=_switch, default=[], metavar="NAME=VALUE", help=text
    )


def _switch(text: str) -> tuple[str, Any]:
    try:
        return parse_setting(text)
    except CaffeCompatError as error:
        raise ArgumentTypeError(str(error)) from None


def chosen_switches(args: Namespace) -> PaperSwitches:
    """Return the switches of a command line; settings that contradict each other are an error."""
    return replace(AS_PAPER if args.variant == "paper" else AS_CODE, **dict(args.switch))
