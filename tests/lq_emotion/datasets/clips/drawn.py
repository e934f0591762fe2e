"""Clips of drawn faces with a table."""

import numpy as np

from lq_emotion.datasets.synthetic.face import Expression, Pose, Scene
from lq_emotion.datasets.synthetic.person import make_person


def draw_frames(person, valences, side=200):
    """Return a drawn person's frames (T, side, side, 3), one for each valence."""
    rng = np.random.default_rng([person, 1])
    scene = Scene(make_person(rng), rng, (side, side))
    pose = Pose(0, 0, 1, 0)
    return np.stack([scene.draw(Expression(v, 0.0, 0.0, (0.0, 0.0)), pose, (1.0, 0.0)) for v in valences])


LOSSLESS = {"codec": "libx264rgb", "pix_fmt": "rgb24", "options": {"qp": "0", "preset": "ultrafast"}}
