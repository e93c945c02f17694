"""What to do instead of sending a file as a web form's fields: the right line for whoever asks."""

from __future__ import annotations

_CURL = (
    "curl -T FILE URL, or curl -F file=@FILE URL/uploads, "
    "or add -H 'Content-Type: application/octet-stream' to --data-binary."
)
_LINES = (
    ("curl/", f"curl -d and --data-binary send files as a web form, and -d drops bytes of them. Use: {_CURL}"),
    (
        "wget",
        "wget --post-file and --body-file send files as a web form unless told what they are. Use: wget -O -"
        " --header='Content-Type: application/octet-stream' --method=PUT --body-file=FILE URL/uploads/NAME",
    ),
    (
        "axios/",
        "axios sends bytes as a web form unless told what they are. Use: axios.put('URL/uploads/NAME', data,"
        " { headers: { 'Content-Type': 'application/octet-stream' } })",
    ),
    (
        "powershell/",
        "PowerShell sends -Body and -InFile as a web form unless told what they are. Use: Invoke-RestMethod"
        " -Method Put -Uri URL/uploads/NAME -InFile FILE -ContentType application/octet-stream",
    ),
    (
        "python-requests/",
        "requests sends a dictionary given as data as a web form. Use: requests.put('URL/uploads/NAME',"
        " data=open('FILE', 'rb')), or requests.post('URL/uploads', files={'file': open('FILE', 'rb')})",
    ),
    (
        "python-httpx/",
        "httpx sends a dictionary given as data as a web form. Use: httpx.post('URL/uploads',"
        " files={'file': open('FILE', 'rb')})",
    ),
    (
        "python-urllib/",
        "urllib sends data as a web form unless told what it is. Use: urllib.request.urlopen(urllib.request.Request("
        "'URL/uploads/NAME', data=open('FILE', 'rb').read(), method='PUT',"
        " headers={'Content-Type': 'application/octet-stream'}))",
    ),
    (
        "httpie/",
        "http --form sends fields. Use: http PUT URL/uploads/NAME Content-Type:application/octet-stream @FILE",
    ),
    (
        "mozilla/",
        'A form sends files only with enctype="multipart/form-data"; a script sends them as the body itself, with'
        " Content-Type: application/octet-stream.",
    ),
)
"""By a piece of ``User-Agent``, the first that is in it: PowerShell says Mozilla as well.

Tried with curl, wget, urllib, axios 1, requests 2, httpx and HTTPie; the line for PowerShell, by its manual only.
"""

_GENERAL = (
    "application/x-www-form-urlencoded is for the fields of a form, and files do not come through it whole. Send the"
    f" file's bytes as application/octet-stream, or a form as multipart/form-data. With curl: {_CURL}"
)


def advice(user_agent: str) -> str:
    """Return how this client sends a file."""
    name = user_agent.lower()
    return next((line for piece, line in _LINES if piece in name), _GENERAL)
