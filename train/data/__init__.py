"""Pictures packed once into one uint8 array with a hash, and their labels."""

from train.data.labels import UNKNOWN, DatasetGroup, DatasetLabels
from train.data.origins import Channels
from train.data.packed import Dataset, DatasetCard, prepare

__all__ = ["UNKNOWN", "Channels", "Dataset", "DatasetCard", "DatasetGroup", "DatasetLabels", "prepare"]
