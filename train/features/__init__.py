"""The frozen features in whose metric a critic's slope can be bounded: their network, its training, their file."""
