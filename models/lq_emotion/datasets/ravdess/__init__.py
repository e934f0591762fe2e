"""RAVDESS: actors who speak and sing two sentences with eight emotions."""
