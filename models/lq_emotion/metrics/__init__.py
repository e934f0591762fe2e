"""How good predictions are: RMSE, CC, CCC, and the delay of the raters."""
