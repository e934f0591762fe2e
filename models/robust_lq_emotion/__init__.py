"""Robust emotion recognition from low-quality pictures: SR-FCN, CNN+D, and the ``lq-emotion`` command."""
