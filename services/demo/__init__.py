"""The whole loop on drawn faces: an unbalanced starting set, one run, and its report."""
