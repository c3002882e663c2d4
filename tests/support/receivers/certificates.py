"""A certificate authority of a test, and TLS contexts of receivers with its certificates."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relay.transport.tls import client_context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """Its certificates have only constraints and names as extensions, as those of many private
    authorities. With `complete`, they also have key usage and key identifiers, as RFC 5280 asks."""

    def __init__(self, folder: Path, *, complete: bool = False) -> None:
        self._folder = folder
        self._complete = complete
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign(_name("a test's authority"), self._key.public_key(), None, authority=True)

    def trusted(self) -> ssl.SSLContext:
        """A client's context that trusts only this authority."""
        context = client_context()
        context.load_verify_locations(cadata=self.pem())
        return context

    def pem(self) -> str:
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def server(self, *hosts: str, expired: bool = False, self_signed: bool = False) -> ssl.SSLContext:
        """A receiver's context, with a certificate for these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([_general(host) for host in hosts])
        signer = key if self_signed else self._key
        issuer = _name(hosts[0]) if self_signed else None
        certificate = self._sign(
            _name(hosts[0]), key.public_key(), names, signer=signer, issuer=issuer, expired=expired
        )
        path = self._folder / f"{certificate.serial_number}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        names: x509.SubjectAlternativeName | None,
        *,
        signer: ec.EllipticCurvePrivateKey | None = None,
        issuer: x509.Name | None = None,
        expired: bool = False,
        authority: bool = False,
    ) -> x509.Certificate:
        ends = datetime.now(UTC) + timedelta(days=-1 if expired else 1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or _name("a test's authority"))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(ends - timedelta(days=2))
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        if self._complete:
            issued_by = (signer or self._key).public_key()
            builder = (
                builder.add_extension(_usage(authority), critical=True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issued_by), critical=False)
            )
        return builder.sign(signer or self._key, hashes.SHA256())


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
