"""What ``/docs`` says of each operation: options, answers, errors. Only words; the routes decide, tests compare.

Imports the tables that words are made of: errors, codecs, limits; never what answers a request.
"""

from service.web.documented.audit import GET_AUDIT
from service.web.documented.deliveries import GET_DELIVERIES, REPLAY
from service.web.documented.description import DESCRIPTION, complete
from service.web.documented.downloads import GET_ORIGINAL, GET_RESULT
from service.web.documented.jobs import CANCEL, DELETE, DELETE_BY_FORM, GET_EVENTS, GET_JOB, GET_JOBS, RETRY
from service.web.documented.operations import FRONT, LIMITS, LIVEZ, METRICS, READYZ
from service.web.documented.uploads import POST_UPLOAD, PUT_ROOT, PUT_SHORT, PUT_UNNAMED, PUT_UPLOAD

__all__ = [
    "CANCEL",
    "DELETE",
    "DELETE_BY_FORM",
    "DESCRIPTION",
    "FRONT",
    "GET_AUDIT",
    "GET_DELIVERIES",
    "GET_EVENTS",
    "GET_JOB",
    "GET_JOBS",
    "GET_ORIGINAL",
    "GET_RESULT",
    "LIMITS",
    "LIVEZ",
    "METRICS",
    "POST_UPLOAD",
    "PUT_ROOT",
    "PUT_SHORT",
    "PUT_UNNAMED",
    "PUT_UPLOAD",
    "READYZ",
    "REPLAY",
    "RETRY",
    "complete",
]
