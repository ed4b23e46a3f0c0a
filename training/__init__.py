"""The recipe of the bundled weights; see README.md."""
