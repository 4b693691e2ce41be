"""The forge: datasets, training and export. torch lives only here; run it as `python -m train` from a checkout."""
