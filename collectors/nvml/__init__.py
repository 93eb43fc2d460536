"""NVML: the GPUs of one node, through nvidia-ml-py."""
