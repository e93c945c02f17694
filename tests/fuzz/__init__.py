"""Whatever anybody sends is read or refused by name: every reader with input that nobody thought of.

The tests run each for a moment, always the same; ``make fuzz`` runs them for ten minutes, each time otherwise.
"""
