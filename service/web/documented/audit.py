"""The words on the audit."""

from __future__ import annotations

from service.web.documented.schemas import AuditPage
from service.web.documented.terms import Words, parameter, problems
from storage.audit_table import Action

_ACTION = parameter(
    "action", "query", "Only events of this action.", {"type": "string", "enum": [str(action) for action in Action]}
)
_JOB = parameter(
    "job", "query", "Only events of this job, gone or not.", {"type": "string", "pattern": "^[a-z2-7]{26}$"}
)

GET_AUDIT: Words = {
    "operation_id": "get_audit",
    "summary": "Who did what, newest first (admin)",
    "response_model": AuditPage,
    "responses": {200: {"description": "The events."}}
    | problems("admin_only", "too_many_guesses", "bad_option", "too_many_queries"),
    "openapi_extra": {"parameters": [_ACTION, _JOB]},
}
