"""How a training step is computed: mixed precision, gradients, compilation, optimizer, average."""
