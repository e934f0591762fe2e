"""Print what becomes of every definition in some folders.

python -m tests.zoo [DIR ...]        by default those of CAFFE_COMPAT_ZOO, or ../shared/zoo
"""

import sys
from collections import Counter
from pathlib import Path

from tests.zoo.survey import Outcome, definitions, examine, folders


def main(args: list[str]) -> None:
    """Print a line for each file and the totals of each folder."""
    for folder in map(Path, args) if args else folders():
        total: Counter[str] = Counter()
        for file in definitions(folder):
            outcome = examine(file)
            total.update(_counts(outcome))
            print(f"{file.relative_to(folder)}\t{_words(outcome)}")
        print(f"{folder}: " + ", ".join(f"{count} {name}" for name, count in total.items()), flush=True)


def _words(outcome: Outcome) -> str:
    if outcome.error:
        return f"refused: {outcome.error}"
    words = [outcome.kind, "parsed" * outcome.parsed, "upgraded" if outcome.old else "current"]
    for state, value in outcome.states.items():
        words.append(f"{state}: " + "; ".join(part.strip() for part in value.splitlines()))
    return "\t".join(words)


def _counts(outcome: Outcome) -> Counter[str]:
    out = Counter({"files": 1, f"{outcome.kind}s": 1, "parsed": outcome.parsed, "of an old form": outcome.old})
    out["in the current form"] = outcome.upgraded
    for state, value in outcome.states.items():
        out[f"{state.split()[0]} {value if value.startswith('built') else 'refused by name'}"] += 1
    return out


main(sys.argv[1:])
