"""Models of speech, and how keywords are found in what they write down."""
