"""Which servers the relay trusts. The rules are the same on every supported Python."""

import ssl


def client_context() -> ssl.SSLContext:
    """Trusts the authorities of the system, or those of SSL_CERT_FILE and SSL_CERT_DIR.

    It checks: TLS 1.2 or newer, a chain to a trusted certificate, its dates and purpose, and that
    the certificate names the host.

    `ssl.create_default_context` is not used, because its checks depend on the version. Python 3.13
    began to refuse authorities that lack extensions which RFC 5280 asks for, and many private ones
    lack them. It also writes the keys of sessions to the file that SSLKEYLOGFILE names.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # PARTIAL_CHAIN: a trusted intermediate certificate ends a chain. That is what
    # an operator who trusts one wants.
    context.verify_flags = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context
