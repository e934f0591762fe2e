"""``lq-emotion study train``: the authors' nets, trained as they did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caffe_compat.errors import NetError
from lq_emotion.cli.command import Command
from lq_emotion.cli.options import add_switches, chosen
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import option
from lq_emotion.nets.switches import AS_CODE, PaperSwitches, format_setting
from lq_emotion.training.settings import TrainingSettings

if TYPE_CHECKING:
    from lq_emotion.training.results import TrainingResults


def _nothing(_parser: Any) -> None:
    """`add_switches` adds the option of the single switches, too."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings(TrainingSettings):
    """Settings of ``study train``."""

    switches: PaperSwitches = option(AS_CODE, add=add_switches, collect=chosen)
    single: tuple[tuple[str, Any], ...] = option((), add=_nothing, collect=lambda args: tuple(args.switch))


def _require_effect(settings: TrainSettings) -> None:
    """Refuse a single switch that changes nothing in the training of a net."""
    from lq_emotion.nets.definitions import builder, parts

    net = settings.net
    for name, value in settings.single:
        touched = parts(name, value)
        if touched and f"train {net}" not in touched and not (name == "input_size" and builder(net).own_size):
            hint = f"it affects {', '.join(touched)}; use `lq-emotion study run robust-lq`, which applies all switches"
            raise NetError(
                f"has no effect on net {net}", code="conflict", field=name, value=format_setting(value), hint=hint
            )


def _train(settings: TrainSettings, say: Say) -> TrainingResults:
    from lq_emotion.training.training_run import train

    _require_effect(settings)
    return train(settings, say)


def _show(results: TrainingResults, _settings: TrainSettings) -> None:
    tests = list(results.test_loss.items())
    if tests:
        (first, first_loss), (last, last_loss) = tests[0], tests[-1]
        print(f"\ntest loss {first_loss:.4g} at iteration {first}, {last_loss:.4g} at iteration {last}")
    if results.files is not None:
        for path in filter(None, (results.files.losses, results.files.log, results.files.caffemodel)):
            print(f"  {path}")


COMMAND = Command(TrainSettings, _train, _show)
