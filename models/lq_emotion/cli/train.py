"""``lq-emotion study train``: the authors' nets, trained as they did."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from caffe_compat.errors import NetError
from lq_emotion.cli.command import Command, imported
from lq_emotion.common.settings import option
from lq_emotion.nets.switches import AS_CODE, PaperSwitches, add_switches, chosen_switches, format_setting
from lq_emotion.training.settings import TrainingResults, TrainingSettings


def _switches(args: argparse.Namespace) -> PaperSwitches:
    """Return the switches; one that changes nothing in the training of the net is refused if it was named."""
    from lq_emotion.nets.definitions import builder, parts

    net = args.net
    for name, value in args.switch:
        touched = parts(name, value)
        if touched and f"train {net}" not in touched and not (name == "input_size" and builder(net).own_size):
            hint = f"it affects {', '.join(touched)}; use `lq-emotion study run robust-lq`, which applies all switches"
            raise NetError(
                f"has no effect on net {net}", code="conflict", field=name, value=format_setting(value), hint=hint
            )
    return chosen_switches(args)


@dataclass(frozen=True, kw_only=True)
class TrainCommand(TrainingSettings):
    """Settings of ``study train``."""

    switches: PaperSwitches = option(AS_CODE, add=add_switches, collect=_switches)


def _show(results: TrainingResults, _settings: TrainCommand) -> None:
    tests = list(results.test_loss.items())
    if tests:
        (first, first_loss), (last, last_loss) = tests[0], tests[-1]
        print(f"\ntest loss {first_loss:.4g} at iteration {first}, {last_loss:.4g} at iteration {last}")
    for path in results.files:
        print(f"  {path}")


COMMAND = Command(TrainCommand, imported("training.training_run:train"), _show)
