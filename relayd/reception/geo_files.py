"""Files of networks and countries by address, in the .mmdb format, on the package `maxminddb` (extra `geoip`).

A file is read into memory as a whole: one that is mapped would take the daemon down when somebody writes over it.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from relayd.options import OptionError
from relayd.spam.facts import Address
from relayd.spam.geo_options import GeoOptions

if TYPE_CHECKING:
    import maxminddb

MAX_OCTETS = 256 << 20
"""Of a file; those of cities have some 60 MB, those of networks and countries 10 MB."""

_Stamp = tuple[int, int, int]


class GeoFile(msgspec.Struct, frozen=True):
    """An opened file.  key: the option that names it."""

    key: str
    path: str
    stamp: _Stamp
    reader: maxminddb.Reader

    def find(self, address: Address) -> tuple[object, str]:
        """The record of an address and its network; (None, "") where there is none.

        Raises Exception of a file that is broken in that place.
        """
        if address.version == 6 and self.reader.metadata().ip_version == 4:
            return None, ""
        record, length = self.reader.get_with_prefix_len(address)
        return (None, "") if record is None else (record, _network(address, length))


class GeoFiles(msgspec.Struct, frozen=True):
    """The files of a configuration."""

    asn: GeoFile | None = None
    country: GeoFile | None = None


def open_files(options: GeoOptions) -> GeoFiles:
    """Read them; blocks for some milliseconds where one has changed.  OptionError."""
    return GeoFiles(*(open_file(key, path) for key, path in named(options)))


def named(options: GeoOptions) -> tuple[tuple[str, str | None], tuple[str, str | None]]:
    """The keys of files and the paths that they name, in the order of `GeoFiles`."""
    return ("geo.asn-file", options.asn_file), ("geo.country-file", options.country_file)


def open_file(key: str, path: str | None) -> GeoFile | None:
    """The file that an option names; None where it names none.  OptionError."""
    if not path:
        return None
    try:
        found = os.stat(path)
        stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
        if found.st_size > MAX_OCTETS:
            raise OptionError(f"{key}: expected a file of at most {MAX_OCTETS >> 20} MB: {path}")
        return GeoFile(key, path, stamp, _read(path, stamp))
    except ImportError:
        raise OptionError(f'{key}: needs the package maxminddb (extra "geoip"), which is not installed') from None
    except OSError as error:
        raise OptionError(f"{key}: expected a file that can be read: {path}: {error.strerror or error}") from None
    except OptionError:
        raise
    except Exception as error:  # whatever a broken file makes its reader raise
        reason = "" if path in str(error) else f": {str(error) or type(error).__name__}"
        raise OptionError(f"{key}: expected an .mmdb file: {path}{reason}") from None


@lru_cache(maxsize=2)
def _read(path: str, stamp: _Stamp) -> maxminddb.Reader:
    """The reader of a file as it is now; of the same file, the same one."""
    import maxminddb

    return maxminddb.open_database(path, maxminddb.MODE_MEMORY)


def _network(address: Address, length: int) -> str:
    whole = int(address) >> (address.max_prefixlen - length) << (address.max_prefixlen - length)
    return f"{type(address)(whole)}/{length}"
