"""The phonemes of the CMU Pronouncing Dictionary."""

PHONEMES = (
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
).split()
"""ARPAbet without stress. Symbol 0 of a network is *blank*, its symbols 1 to 39 are these, in order."""
