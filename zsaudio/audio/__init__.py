"""Sound in: files, arrays and devices become mono float32 blocks, and blocks become windows."""
