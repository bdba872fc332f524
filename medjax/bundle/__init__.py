"""A finished run -> a bundle: a folder that others load in one line, with the card, scores and checksums of a public
data set."""
