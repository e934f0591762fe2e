"""The authors' super-resolution net trained on a few images."""
