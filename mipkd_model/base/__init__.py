"""Files, random numbers and weights."""
