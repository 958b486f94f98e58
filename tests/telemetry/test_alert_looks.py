"""What the alerts look at: certificates whose time is up."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relayd.assembly.alerts import expiring
from relayd.listener.options import CertificateOptions
from tests.telemetry.conftest import NOW

DAY = 86400.0


def certificate(path: Path, days: float) -> CertificateOptions:
    """One that is good until so many days after NOW."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.test")])
    start = datetime.datetime.fromtimestamp(NOW - 100 * DAY, datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(datetime.datetime.fromtimestamp(NOW + days * DAY, datetime.UTC))
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return CertificateOptions(cert=str(path), private_key=str(path))


def test_certificates_that_expire_soon_did_expire_or_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "odd").write_text("no certificate")
    records = {
        "good": certificate(tmp_path / "good", 15),
        "soon": certificate(tmp_path / "soon", 13),
        "over": certificate(tmp_path / "over", -1),
        "gone": CertificateOptions(cert=str(tmp_path / "nowhere"), private_key="x"),
        "odd": CertificateOptions(cert=str(tmp_path / "odd"), private_key="x"),
    }
    found = expiring(records, NOW, 14 * DAY)
    assert set(found) == {f"certificate:{name}" for name in ("soon", "over", "gone", "odd")}
    assert found["certificate:soon"] == "certificate soon expires on 2026-12-04, in 13 days"
    assert found["certificate:over"] == "certificate over expired on 2026-11-20"
    assert "cannot be read" in found["certificate:gone"]
