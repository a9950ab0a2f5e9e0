"""Jobs as runs of Weights & Biases, MLflow and TensorBoard: off by default, never in the way.

Each tracker is its own library, imported when its first run begins. A run has a thread of its own:
a tracker that is slow or fails costs its run, never a step of training.
"""
