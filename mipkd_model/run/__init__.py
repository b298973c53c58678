"""What keeps a run going: states, signals, folders, logs, resuming."""
