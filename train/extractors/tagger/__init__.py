"""A small network that tells hair colour, eye colour and hair length, whose features measure images.

Tags → training → folded ONNX graph with its own card. Make.girls.moe measured its generator in such a network's
features (Jin et al. 2017, arXiv 1708.05509, section 4.3).
"""
