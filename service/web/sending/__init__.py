"""Stored bytes on their way out: opened, watched for damage, made into another form, and limited in number.

Imports ``storage.files`` and ``codecs``; which bytes, under what name, and for whom is decided by the routes.
"""
