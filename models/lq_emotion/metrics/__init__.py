"""Scores of predictions (RMSE, CC, CCC) and the raters' delay."""
