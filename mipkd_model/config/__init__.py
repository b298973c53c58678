"""Option files and command lines: how they are read, what they may say, and what is checked before a run starts."""
