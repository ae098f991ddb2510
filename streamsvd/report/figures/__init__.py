"""Figures in files, for slides and papers; they alone import matplotlib."""
