"""conf/relayd.toml is what the declarations say, and valid however much of it is uncommented."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import trustme

from relayd.config.configuration import ConfigError
from relayd.config.generate import render
from relayd.config.load import flatten, load
from relayd.config.sections import ALL_SECTIONS, MODULES, declared
from relayd.options import Option, Section
from tests.rig.mmdb import write_mmdb

_CONF = Path(__file__).resolve().parents[2] / "conf" / "relayd.toml"


def uncommented() -> str:
    return re.sub(r"(?m)^#(?=\S)", "", render())


def test_the_file_in_conf_is_the_generated_one() -> None:
    command = "python -m relayd.config.generate > conf/relayd.toml"
    assert _CONF.read_text(encoding="utf-8") == render(), f"run {command}"


def test_as_it_is_it_says_nothing() -> None:
    assert load(_CONF, environ={}).flat() == {}


def test_every_option_is_in_it() -> None:
    written = {".".join(path) for path, _ in flatten(tomllib.loads(uncommented()))}
    for section in declared():
        prefix = re.escape(section.prefix).replace("<id>", ".+")
        for option in section.options:
            key = re.compile(prefix + (r"\." + re.escape(option.key) if option.key else ""))
            assert any(key.fullmatch(each) for each in written), f"{section.prefix}.{option.key}"


@pytest.mark.parametrize(
    ("section", "option"),
    [pytest.param(s, o, id=f"{s.prefix}.{o.key}") for s in declared() for o in s.options],
)
def test_every_option_is_documented(section: Section, option: Option) -> None:
    assert option.doc.strip()
    assert section.doc.strip()


def test_everything_uncommented_fits_but_for_what_is_not_on_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "all.toml"
    path.write_text(uncommented(), encoding="utf-8")
    environ = dict.fromkeys(re.findall(r"%\{env:(\w+)\}%", uncommented()), "x")
    environ["APP_OTP"] = "otpauth://totp/app?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    text = uncommented()
    pair = trustme.CA().issue_cert("mx.example.org").private_key_and_cert_chain_pem.bytes()
    for file in set(re.findall(r'"(/[^"]*\.(?:pem|key|crt))"', text)):
        there = tmp_path / Path(file).name
        there.write_bytes(pair)
        text = text.replace(file, str(there))
    write_mmdb(tmp_path / "any.mmdb", {})
    text = re.sub(r'"/[^"]*\.mmdb"', f'"{tmp_path}/any.mmdb"', text)
    (tmp_path / "rules.toml").write_text("")
    text = re.sub(r"/etc/relayd/(bounces|shaping)\.toml", str(tmp_path / "rules.toml"), text)
    path.write_text(text, encoding="utf-8")
    try:
        config = load(path, environ=environ)
    except ConfigError as error:
        pytest.fail(str(error))
    assert config.flat()


def test_sections_are_gathered_once() -> None:
    assert len(set(ALL_SECTIONS)) == len(ALL_SECTIONS)
    assert all(section.options for section in declared())
    assert len(MODULES) == len(set(MODULES))


def test_no_key_is_declared_twice() -> None:
    keys = [f"{section.prefix}.{option.key}" for section in declared() for option in section.options]
    assert sorted(keys) == sorted(set(keys))
