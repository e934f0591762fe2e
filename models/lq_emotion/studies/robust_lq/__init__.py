"""Robust Emotion Recognition from Low Quality and Low Bit Rate Video (arXiv 1709.03126)."""
