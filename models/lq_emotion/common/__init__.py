"""What every room uses: JSON files, fingerprints, natural order, devices."""
