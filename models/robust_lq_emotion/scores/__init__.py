"""How good predictions of valence are: statistics, post-processing, tables and pictures."""
