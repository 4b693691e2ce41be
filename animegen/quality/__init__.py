"""The quality of generated images, from their features: arrays in, numbers out. It doesn't know generators."""
