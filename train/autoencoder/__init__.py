"""An autoencoder of faces, in whose codes a generator and its critic can work."""
