"""Files, locks, random numbers and weights."""
