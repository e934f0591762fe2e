"""Synthetic recordings in the shape of AVEC 2016: drawn faces whose expression follows traces of valence and arousal.

They stand in where the real package is not at hand: to try every step, and to see that one works. They say nothing
about how well anything recognises people's emotions.
"""
