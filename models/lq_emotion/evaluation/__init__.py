"""Predict prepared recordings and score the predictions: post-processing, tables and plots."""
