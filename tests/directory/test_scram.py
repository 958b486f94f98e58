"""SCRAM-SHA-256: the vector of RFC 7677, another implementation as the client, and what is no exchange."""

from __future__ import annotations

import base64

import pytest
from scramp import ScramClient, ScramException

from relayd.directory.scram import (
    ITERATIONS,
    BadExchange,
    Exchange,
    Verifier,
    decoy,
    parse_first,
    parse_verifier,
    saslprep,
    verifier,
)

SALT = bytes(range(16))


def known(password: str, iterations: int = 4096) -> Verifier:
    found = parse_verifier(verifier(password, SALT, iterations))
    assert found is not None
    return found


def test_the_example_of_rfc_7677() -> None:
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    stored = parse_verifier(verifier("pencil", salt, 4096))
    assert stored is not None
    first = parse_first(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
    assert (first.login, first.authorize) == ("user", "")
    exchange = Exchange(first, stored, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    assert exchange.challenge == (
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    final = (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert exchange.finish(final) == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.mark.parametrize("password", ["pencil", "correct horse", "pässwörd", "I\u00adX", "ⅸ", "a\u00a0b"])
@pytest.mark.parametrize("login", ["ann", "a=b,c", "änn@example.org"])
def test_another_implementation_signs_in(login: str, password: str) -> None:
    client = ScramClient(["SCRAM-SHA-256"], login, password)
    sent = client.get_client_first()
    exchange = Exchange(parse_first(sent.encode()), known(password), "server-nonce")
    client.set_server_first(exchange.challenge.decode())
    try:
        final = client.get_client_final()
    except ScramException:  # RFC 4013 prohibits the text: then nobody may sign in with it by SCRAM
        assert saslprep(password) == password
        return
    proof = exchange.finish(final.encode())
    assert proof is not None
    client.set_server_final(proof.decode())  # raises unless the server proved itself


def test_another_password_and_no_account_fail_alike() -> None:
    for verifies in (known("pencil", ITERATIONS), decoy(b"key", "nobody")):
        client = ScramClient(["SCRAM-SHA-256"], "ann", "wrong")
        exchange = Exchange(parse_first(client.get_client_first().encode()), verifies, "nonce")
        client.set_server_first(exchange.challenge.decode())
        assert exchange.finish(client.get_client_final().encode()) is None
    one, other = decoy(b"key", "nobody"), decoy(b"key", "somebody")
    assert decoy(b"key", "nobody") == one != other
    assert (len(one.salt), one.iterations) == (16, ITERATIONS)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,n=user",
        b"n,,r=abc",
        b"p=tls-unique,,n=user,r=abc",
        b"n,,m=x,n=user,r=abc",
        b"n,,n=us=er,r=abc",
        b"n,,n=,r=abc",
        b"n,,n=user,r=",
        b"n,,n=user,r=a\xffc",
        b"n,,n=us\0er,r=abc",
        b"x,,n=user,r=abc",
        b"n,,n=user,r=" + b"a" * 5000,
    ],
)
def test_what_is_no_first_message(message: bytes) -> None:
    with pytest.raises(BadExchange):
        parse_first(message)


def test_what_is_no_final_message() -> None:
    for message in (
        b"",
        b"c=biws,r=abcnonce",
        b"c=biws,r=abcOTHER,p=" + base64.b64encode(bytes(32)),
        b"c=eSws,r=abcnonce,p=" + base64.b64encode(bytes(32)),
        b"c=biws,r=abcnonce,p=" + base64.b64encode(bytes(31)),
        b"c=biws,r=abcnonce,p=====",
    ):
        exchange = Exchange(parse_first(b"n,,n=user,r=abc"), known("pencil"), "nonce")
        with pytest.raises(BadExchange):
            exchange.finish(message)


def test_a_verifier_that_is_none() -> None:
    for text in ("", "SCRAM-SHA-1$4096:a$b:c", verifier("x", SALT, 4096)[:-1], "SCRAM-SHA-256$1:AAAA$x:y"):
        assert parse_verifier(text) is None
    assert repr(known("pencil")).count("pencil") == 0
