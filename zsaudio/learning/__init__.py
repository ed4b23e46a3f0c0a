"""What is learned from labelled recordings: classes, examples, thresholds."""
