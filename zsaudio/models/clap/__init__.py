"""CLAP checkpoints, with a fast audio tower on CPU and GPU."""
