"""The entry point of ``lq-emotion``; it imports nothing else yet, so that Ctrl-C ends its imports cleanly too."""

from caffe_compat import entry


def main() -> int:
    """Run ``lq-emotion`` with the arguments of the process, which ends with the code returned."""
    return entry.run("lq-emotion", "lq_emotion.cli")
