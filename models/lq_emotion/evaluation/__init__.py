"""Predictions of prepared recordings: scores, post-processing, tables and plots."""
