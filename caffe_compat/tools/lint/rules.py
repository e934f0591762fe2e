"""What lint finds, and the rules it knows."""

from __future__ import annotations

from dataclasses import dataclass, field

from caffe_compat.errors import printable

RULES: dict[str, str] = {
    "parse": "the file cannot be read",
    "build": "the net cannot be built in a phase",
    "shapes": "an input whose shape nothing tells: what needs shapes was not checked",
    "fork": "a field or value that Caffe 1.0 does not know",
    "deprecated": "a form or field that a newer one replaced",
    "ignored-field": "a field that has no effect on a layer of this type, or under this policy",
    "pool-rounds-up": "a pooling layer whose last window hangs over the border",
    "in-place": "a layer that overwrites values another layer, or its own backward pass, needs",
    "in-place-input": "a layer that overwrites a blob nobody fills again",
    "unused-top": "a blob that nothing reads",
    "never-built": "a layer that no phase includes",
    "no-gradient": "parameters that no loss reaches",
    "no-loss": "a net to be trained without a loss",
    "loss-weight": "a loss that counts for nothing",
    "double-activation": "a loss on top of a layer that it contains, or that its scores should not pass",
    "batch-norm-alone": "BatchNorm without the Scale that learns its scale and shift",
    "batch-norm-statistics": "BatchNorm whose use_global_stats does not suit the phase",
    "batch-norm-rate": "BatchNorm whose statistics have a learning rate",
    "batch-norm-bias": "a bias that the BatchNorm behind it takes out again",
    "dropout": "a Dropout layer that drops nothing",
    "zero-weights": "weights that all start at zero",
    "duplicate-name": "two layers of one name in one net",
    "test-augmented": "random mirroring or shuffling of what is tested",
    "train-test": "data that training and testing prepare differently",
    "no-data": "a source that is not there",
    "weights-missing": "a blob that the weights say nothing about",
    "weights-left-over": "a layer of the weights that the net does not have",
    "weights-mismatch": "a layer whose blobs in the weights do not fit",
    "weights-not-finite": "a blob of the weights that holds NaN or infinite values",
    "solver": "a solver that cannot run",
    "solver-tests": "tests that never run, or have no number of batches",
    "solver-steps": "step values that are missing, out of order, or never reached",
    "solver-snapshots": "snapshots that are never taken",
}
"""Rule -> what it is about."""

LEVELS = ("error", "warning", "note")
"""error: Caffe or this engine stops there. warning: most likely not what was meant. note: worth knowing."""


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes
    ----------
    rule : key of RULES.
    level : "error", "warning" or "note".
    problem : what is so, one phrase.
    why : why it matters.
    hint : what would work.
    file, line : where; line 0 where no line says it.
    layer : the layer's name, or "".
    phase : the phase it was found in, or "" for all of them.
    """

    rule: str
    level: str
    problem: str
    why: str
    hint: str
    file: str = ""
    line: int = 0
    layer: str = ""
    phase: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        assert self.rule in RULES, self.rule
        assert self.level in LEVELS, self.level

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        layer = f"layer {self.layer!r}: " if self.layer else ""
        phase = f" ({self.phase})" if self.phase else ""
        lines = [f"{place}: {self.level}: {layer}{self.problem}{phase} [{self.rule}]"]
        lines += [f"    {text}" for text in (self.why, self.hint) if text]
        return "\n".join(map(printable, lines))
