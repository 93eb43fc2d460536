"""Ground floor: the words, numbers and rules that every other package shares."""
