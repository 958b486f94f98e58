"""What a file is by its first octets, and what its name says that it is."""

from __future__ import annotations

import re

_MAGIC: tuple[tuple[bytes, int, str], ...] = (
    (b"%PDF-", 0, "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF8", 0, "image/gif"),
    (b"BM", 0, "image/bmp"),
    (b"II*\x00", 0, "image/tiff"),
    (b"MM\x00*", 0, "image/tiff"),
    (b"WEBP", 8, "image/webp"),
    (b"PK\x03\x04", 0, "application/zip"),
    (b"PK\x05\x06", 0, "application/zip"),
    (b"Rar!\x1a\x07", 0, "application/vnd.rar"),
    (b"7z\xbc\xaf\x27\x1c", 0, "application/x-7z-compressed"),
    (b"\x1f\x8b", 0, "application/gzip"),
    (b"BZh", 0, "application/x-bzip2"),
    (b"\xfd7zXZ\x00", 0, "application/x-xz"),
    (b"MZ", 0, "application/x-msdownload"),
    (b"\x7fELF", 0, "application/x-executable"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0, "application/x-ole-storage"),
    (b"{\\rtf", 0, "application/rtf"),
    (b"CD001", 32769, "application/x-iso9660-image"),
    (b"ustar", 257, "application/x-tar"),
    (b"L\x00\x00\x00\x01\x14\x02\x00", 0, "application/x-ms-shortcut"),
    (b"ITSF", 0, "application/vnd.ms-htmlhelp"),
    (b"OggS", 0, "audio/ogg"),
    (b"ID3", 0, "audio/mpeg"),
    (b"ftyp", 4, "video/mp4"),
    (b"RIFF", 0, "application/x-riff"),
    (b"MSCF", 0, "application/vnd.ms-cab-compressed"),
    (b"x\x9f>\x22", 0, "application/ms-tnef"),
    (b"-----BEGIN PGP", 0, "application/pgp"),
)
_SAME = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "application/x-pdf": "application/pdf",
    "application/x-zip-compressed": "application/zip",
    "application/x-zip": "application/zip",
    "application/x-rar-compressed": "application/vnd.rar",
    "application/x-rar": "application/vnd.rar",
    "application/x-gzip": "application/gzip",
    "application/x-gtar": "application/x-tar",
    "text/rtf": "application/rtf",
    "application/x-dosexec": "application/x-msdownload",
}
_IN_ZIP = re.compile(
    r"officedocument|opendocument|java-archive|epub|android|x-xpinstall|vnd\.ms-.*macroenabled|openxps"
)
_IN_OLE = re.compile(r"msword|ms-(?:excel|powerpoint|outlook|works|project)|x-msi|vnd\.visio|ole")
_VAGUE = frozenset(("application/octet-stream", "application/x-riff", "application/binary", "application/x-download"))
_PAGE = re.compile(rb"\A\s*<(?:!doctype html|html|head|body|script)", re.I)
_ZIP_ENTRY = re.compile(rb"PK\x03\x04.{22}(..)(..)", re.S)


def true_type(octets: bytes) -> str:
    """The media type of a file by its first octets, "" where they do not tell."""
    for magic, place, name in _MAGIC:
        if octets.startswith(magic, place):
            return name
    return "text/html" if _PAGE.match(octets) else ""


def contradicts(declared: str, octets: bytes) -> str:
    """The true type of a file that is declared as something else; "" where the two agree or nothing is known."""
    declared = _SAME.get(declared, declared)
    found = true_type(octets)
    if not found or declared in _VAGUE or found == declared or found in _VAGUE:
        return ""
    if found == "application/zip" and (_IN_ZIP.search(declared) or declared.endswith("+zip")):
        return ""
    if found == "application/x-ole-storage" and _IN_OLE.search(declared):
        return ""
    if found == "application/pgp" or (found == "text/html" and declared.startswith(("text/", "application/xhtml"))):
        return ""
    if found == "application/gzip" and "tar" in declared:
        return ""
    if declared.startswith(("audio/", "video/")):
        return found if not found.startswith(("audio/", "video/", "image/")) else ""
    if found in ("image/bmp", "application/x-bzip2") and not declared.startswith(("image/", "application/x-bz")):
        return ""  # two octets of text may say so by chance
    return found


def zip_names(octets: bytes, most: int = 100) -> list[str]:
    """The file names that stand at the beginning of a zip archive, as far as `octets` go."""
    names: list[str] = []
    for entry in _ZIP_ENTRY.finditer(octets):
        length = int.from_bytes(entry[1], "little")
        name = octets[entry.end() : entry.end() + min(length, 500)]
        names.append(name.decode("utf-8", "replace"))
        if len(names) >= most:
            break
    return names


def extensions(name: str) -> list[str]:
    """The extensions of a file's name, the last first, lower case: "a.tar.GZ" -> ["gz", "tar"]."""
    parts = name.strip().rstrip(". ").lower().replace("\\", "/").rpartition("/")[2].split(".")
    return [part.strip() for part in reversed(parts[1:][-4:])]
