"""Trainer: turns a manifest into a measured ONNX model. The only service that imports torch."""
