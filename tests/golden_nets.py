"""The authors' nets in tests/golden/nets: weights and data are compressed there, and read from a folder of their own."""

import gzip
import shutil
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def unpack_nets(folder: Path) -> None:
    """Fill a folder with the weights, data and records of the authors' nets."""
    for file in (GOLDEN / "nets").iterdir():
        if file.suffix == ".gz":
            with gzip.open(file) as packed, (folder / file.stem).open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, 1 << 20)
        else:
            shutil.copyfile(file, folder / file.name)
