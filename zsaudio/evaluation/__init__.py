"""How good a model is, on clips and on events, against labelled recordings."""
