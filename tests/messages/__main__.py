"""``python -m tests.messages`` prints thirty error messages; ``--write`` renews the golden file."""

import sys
import tempfile
from pathlib import Path

from tests.messages.cases import GOLDEN, collected

with tempfile.TemporaryDirectory() as root:
    text = collected(lambda: Path(tempfile.mkdtemp(dir=root)))
if sys.argv[1:] == ["--write"]:
    GOLDEN.write_text(text, encoding="utf-8")
else:
    sys.stdout.write(text)
