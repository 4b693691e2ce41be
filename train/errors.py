"""What can go wrong in the forge; the root and the exit statuses are those of `animegen.errors`."""

from __future__ import annotations

from animegen.errors import AnimegenError, UsageError


class ConfigError(UsageError):
    """A preset or a setting that doesn't exist, or has the wrong type or range."""


class CheckpointError(AnimegenError):
    """A checkpoint that is missing, damaged, or belongs to another configuration."""


class TrainingError(AnimegenError):
    """A run that can't go on, with what became of it."""


class ExportError(AnimegenError):
    """An exported model that is not the trained generator, with by how much."""
