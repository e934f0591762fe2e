"""``lq-emotion calibrate``: learn how far a net's estimates can be trusted, and under which conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lq_emotion.cli.command import Command
from lq_emotion.common.progress import Say
from lq_emotion.quality.settings import CalibrationSettings

if TYPE_CHECKING:
    from lq_emotion.quality.calibration import Calibration


@dataclass(frozen=True)
class _Calibrated:
    """A calibration and its file."""

    file: Path
    calibration: Calibration

    def to_json(self) -> dict[str, Any]:
        return {"file": str(self.file), **self.calibration.summary()}


def _calibrate(settings: CalibrationSettings, say: Say) -> _Calibrated:
    from lq_emotion.common.devices import choose_device
    from lq_emotion.nets.known.loading import load_model
    from lq_emotion.quality.run import calibrate

    return _Calibrated(*calibrate(settings, load_model(settings.model, device=choose_device(settings.device)), say))


def _show(result: _Calibrated, _settings: CalibrationSettings) -> None:
    calibration = result.calibration
    origin = calibration.made_from
    print(f"{result.file}: {len(origin.recordings)} recordings, {origin.samples} faces")
    for errors in calibration.errors:
        print(
            f"  {errors.name}: {calibration.level:.0%} of the errors are within {errors.undegraded:.3f} on faces as "
            f"recorded; an answer that is always the same, {errors.constant:.3f}"
        )
        print(f"  trusted: errors within {errors.limit:.3g}{_least(errors.enough)}")
        if errors.limit >= errors.constant:
            print("  warning: trusted estimates are no better than an answer that is always the same")
    if calibration.agreement is not None:
        agreement = calibration.agreement
        print(f"  trusted: the class stays in {agreement.limit:.0%} of the frames{_least(agreement.enough)}")
        if agreement.best < agreement.limit:
            print(
                f"  warning: nothing is trusted: {len(origin.recordings)} recordings show no more than "
                f"{agreement.best:.0%}; add recordings of other people, or pass a lower --limit or --level"
            )


def _least(enough: Mapping[str, float]) -> str:
    return "".join(f"; rarely below a {name} of {value:.3g}" for name, value in enough.items())


COMMAND = Command(CalibrationSettings, _calibrate, _show)
