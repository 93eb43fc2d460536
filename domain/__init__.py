"""Ground floor: the words, numbers and rules that every other package shares."""

__version__ = "0.1.0"
