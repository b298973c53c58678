"""How good a network is: images go through it, are measured, and what came out is recorded."""
