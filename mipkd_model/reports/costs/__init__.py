"""What networks cost: parameters, multiply-accumulates, time and memory."""
