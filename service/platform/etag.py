"""Strong entity tags (RFC 9110, section 8.8), and the conditions that a request sets with them."""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Self

import orjson

# An entity tag, or *, each with what may stand before the next.
_MEMBER = re.compile(r'[ \t]*(?P<tag>(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"|\*)?[ \t]*(?:,|\Z)')
_WEAK = "W/"
# What stands at the end of a tag of a compressed representation, which is another one. The tags themselves have no such sign.
_CODED = re.compile(r'~[a-z]+"$')


def tag_of(representation: object) -> str:
    """The tag of what JSON can hold, in its quotes: the same for the same bytes only."""
    digest = hashlib.sha256(orjson.dumps(representation)).digest()
    return f'"{base64.urlsafe_b64encode(digest[:18]).decode()}"'


def coded(tag: str, coding: str) -> str:
    """The tag of the same representation in a content coding. Tags.parse takes it for the tag that it was made of."""
    return f'{tag[:-1]}~{coding}"'


@dataclass(frozen=True, slots=True)
class Tags:
    """The value of an If-Match or If-None-Match header: `any` for `*`."""

    tags: frozenset[str]
    any: bool

    @classmethod
    def parse(cls, header: str) -> Self:
        """Raises ValueError for what is no list of entity tags."""
        found = []
        position = 0
        while position < len(header):
            member = _MEMBER.match(header, position)
            if member is None:
                raise ValueError('must be entity tags in double quotes, such as "x1", or *')
            if member["tag"] is not None:
                found.append(_CODED.sub('"', member["tag"]))
            position = member.end()
        if not found or ("*" in found and len(found) > 1):
            raise ValueError('must be entity tags in double quotes, such as "x1", or *')
        return cls(frozenset(found), "*" in found)

    def match(self, tag: str) -> bool:
        """Strong comparison, for If-Match: a weak tag matches nothing."""
        return self.any or tag in self.tags

    def match_weakly(self, tag: str) -> bool:
        """For If-None-Match: a proxy that compresses makes a strong tag weak on its way, and it still names the same content."""
        return self.any or tag in self.tags or _WEAK + tag in self.tags
