import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.platform.vault import SealBroken, Vault, new_key, parse_key

OLD, NEW = os.urandom(32), os.urandom(32)


@given(st.binary(), st.binary())
def test_opens_what_it_sealed(plaintext: bytes, owner: bytes) -> None:
    vault = Vault([NEW])
    sealed = vault.seal(plaintext, owner)
    assert vault.open(sealed, owner) == plaintext


def test_seals_the_same_twice_differently() -> None:
    vault = Vault([NEW])
    assert vault.seal(b"secret", b"owner") != vault.seal(b"secret", b"owner")


def test_after_a_rotation_the_new_key_seals_and_the_old_one_still_opens() -> None:
    before = Vault([OLD]).seal(b"secret", b"owner")
    ring = Vault([NEW, OLD])
    assert ring.open(before, b"owner") == b"secret"
    assert Vault([NEW]).open(ring.seal(b"secret", b"owner"), b"owner") == b"secret"


def test_a_key_that_has_left_the_ring_opens_nothing() -> None:
    sealed = Vault([OLD]).seal(b"secret", b"owner")
    with pytest.raises(SealBroken, match="not among WEBHOOK_SECRET_KEYS"):
        Vault([NEW]).open(sealed, b"owner")


def test_does_not_open_for_another_owner() -> None:
    vault = Vault([NEW])
    with pytest.raises(SealBroken):
        vault.open(vault.seal(b"secret", b"owner"), b"another")


@given(st.data())
def test_notices_any_changed_bit(data: st.DataObject) -> None:
    vault = Vault([NEW])
    sealed = bytearray(vault.seal(b"secret", b"owner"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SealBroken):
        vault.open(bytes(sealed), b"owner")


@given(st.integers(0, 33))
def test_notices_a_cut(length: int) -> None:
    vault = Vault([NEW])
    with pytest.raises(SealBroken):
        vault.open(vault.seal(b"secret", b"owner")[:length], b"owner")


def test_a_ring_has_a_key() -> None:
    with pytest.raises(ValueError, match="needs a key"):
        Vault([])


def test_keys_are_read_in_either_alphabet() -> None:
    key = b"\xfb\xff" * 16
    assert parse_key(base64.b64encode(key).decode()) == parse_key(base64.urlsafe_b64encode(key).decode()) == key
    assert len(parse_key(new_key())) == 32


@pytest.mark.parametrize("text", ["", "short", "not base64 at all", base64.b64encode(b"x" * 31).decode()])
def test_a_bad_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="a key") as refused:
        parse_key(text)
    assert not text or text not in str(refused.value)
