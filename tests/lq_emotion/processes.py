"""Other processes: lq-emotion in one of its own, killed, or awaited."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "models")]), "PYTHONUNBUFFERED": "1"}
PATIENCE = 60  # seconds until a test gives up what takes a fraction of one


def program(*words):
    """Return the words that start lq-emotion."""
    start = "import sys; from lq_emotion.cli import main; sys.exit(main())"
    return [sys.executable, "-c", start, *map(str, words)]


def eventually(fact):
    """Return what `fact` returns as soon as it is true, or when patience ends."""
    end = time.monotonic() + PATIENCE
    while not (value := fact()) and time.monotonic() < end:
        time.sleep(0.02)
    return value


def kill(arguments, times, *, begun=(1, 3), seconds=0.15):
    """Start a command again and again, and kill it up to some seconds after a stage begins; return the number of kills.

    It is the first to the third stage, or another range of `begun`; a command without so many ends by itself.
    """
    moments, kills = random.Random(0), 0
    for _ in range(times):
        with subprocess.Popen(
            program(*arguments), env=ENVIRONMENT, start_new_session=True, stdout=subprocess.PIPE, text=True
        ) as process:
            stages = moments.randint(*begun)
            for line in process.stdout:
                stages -= "begins" in line
                if stages == 0:
                    break
            time.sleep(moments.uniform(0, seconds))
            running = process.poll() is None
            if running:
                os.killpg(process.pid, signal.SIGKILL)
            process.stdout.read()
        assert running or process.returncode == 0
        kills += running
    return kills
