"""Whose mail hosts they are: a few large providers by the names of their MX hosts, all others together."""

from __future__ import annotations

OTHER = "other"

_BY_DOMAIN = {
    "google.com": "google",
    "googlemail.com": "google",
    "outlook.com": "microsoft",
    "microsoft.com": "microsoft",
    "hotmail.com": "microsoft",
    "yahoodns.net": "yahoo",
    "icloud.com": "apple",
    "apple.com": "apple",
    "gmx.net": "gmx",
    "web.de": "gmx",
    "kundenserver.de": "ionos",
    "t-online.de": "telekom",
    "comcast.net": "comcast",
    "orange.fr": "orange",
    "free.fr": "free",
    "ovh.net": "ovh",
    "libero.it": "libero",
    "mail.ru": "mail.ru",
    "yandex.ru": "yandex",
    "yandex.net": "yandex",
    "qq.com": "tencent",
    "163.com": "netease",
    "naver.com": "naver",
    "zoho.com": "zoho",
    "zoho.eu": "zoho",
    "protonmail.ch": "proton",
    "messagingengine.com": "fastmail",
    "mimecast.com": "mimecast",
    "pphosted.com": "proofpoint",
    "messagelabs.com": "broadcom",
    "amazonaws.com": "amazon",
}


def provider(host: str) -> str:
    """The provider of an MX host, "other" for one of no large provider."""
    labels = host.lower().rstrip(".").split(".")
    for count in (2, 3):
        found = _BY_DOMAIN.get(".".join(labels[-count:]))
        if found is not None:
            return found
    return OTHER
