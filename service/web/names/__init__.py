"""File names as their bytes came and as they leave: which encoding it was, and ``Content-Disposition`` both ways.

Imports ``values.file_names``, which makes them safe; never the request they came with.
"""
