"""Experiments: trainings outside the loop, which prove or refute what is said of it. They use what the trainer uses."""
