"""The paper's Figures 1 to 3, each drawn from a study's own files."""
