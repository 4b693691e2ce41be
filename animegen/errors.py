"""What can go wrong, as a tree. Every message is one line: what was given, what is allowed, what to do.

AnimegenError                  exit status 1
├── UsageError                 the request itself is wrong; exit status 2
├── MissingPackageError        an optional package is not installed
├── ModelError                 a model file that is missing, damaged or no generator
├── DeviceError                the device asked for can't be used
├── DataError                  images or a dataset that can't be read
└── OutputError                a result that can't be written
"""

from __future__ import annotations


class AnimegenError(Exception):
    """The root of every error that animegen raises on purpose."""

    exit_status = 1


class UsageError(AnimegenError):
    """A value or a combination of values that can't be asked for."""

    exit_status = 2


class MissingPackageError(AnimegenError):
    """An optional package is not installed; the message holds the line that installs it."""


class ModelError(AnimegenError):
    """A model file is missing, damaged, or holds no generator."""


class DeviceError(AnimegenError):
    """The device that was asked for can't be used, with the reason and the fix."""


class DataError(AnimegenError):
    """Images or a dataset can't be read, or don't fit."""


class OutputError(AnimegenError):
    """A result can't be written; what stood there before is unharmed."""
