"""Audio input: files, arrays and devices to mono float32 blocks, and blocks to windows."""
