"""How a training step is computed: number formats, gradients, compilation, optimizer, average."""
