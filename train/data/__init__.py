"""Pictures packed once into one uint8 array with a hash, and the batches drawn from it."""

from train.data.batches import Batches
from train.data.origins import Channels
from train.data.packed import Dataset, DatasetCard, prepare

__all__ = ["Batches", "Channels", "Dataset", "DatasetCard", "prepare"]
