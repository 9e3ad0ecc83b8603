"""The sample rates of training, in hertz, each named here and nowhere else."""

STORED = 24_000
"""Of the clips in a dataset, and of the audio that the decoder gives."""
MEL = 22_050
"""Of mel spectrograms and of the codes made from them; XTTS was trained so."""
SPEAKER = 16_000
"""Of what the speaker encoder hears."""
