"""Pictures packed once into one uint8 array with a hash."""

from train.data.origins import Channels
from train.data.packed import Dataset, DatasetCard, prepare

__all__ = ["Channels", "Dataset", "DatasetCard", "prepare"]
