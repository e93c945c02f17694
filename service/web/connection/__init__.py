"""One connection: its protocol, what may stand in a request's head, who is slow, and how many there are.

Imports ``web`` for refusals as answers, never a route: nothing here knows what a path means.
"""
