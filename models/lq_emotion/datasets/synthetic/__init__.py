"""Synthetic recordings in AVEC 2016's layout: drawn faces whose expression follows traces of valence and arousal.

They exercise every step where the real data set is not available. Results on them say nothing about how well a net
recognises people's emotions.
"""
