"""The write token that a service on this machine keeps in its state directory."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from service.settings import TOKEN_FILE, SettingsError, load_settings


def local_token(url: str) -> str | None:
    """The kept token, for a service at a loopback address; None where there is none to read.

    It is never sent to another machine: that one has a token of its own.
    """
    if not _is_loopback(urlsplit(url).hostname or ""):
        return None
    try:
        return (load_settings().state_dir / TOKEN_FILE).read_text().strip() or None
    except (OSError, UnicodeDecodeError, SettingsError):
        return None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
