"""Emotion recognition from low-quality video: SR-FCN, CNN+D, their studies, and the ``lq-emotion`` command."""
