"""What keeps a run going, and others from being spoilt by it: states, signals, processes, health."""
