"""Figures for a paper, drawn from records."""
