"""Pictures of the dataset: how they are looked at, taken in, and recorded."""
