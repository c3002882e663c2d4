"""Makes strong entity tags (RFC 9110, section 8.8), and checks a request's conditions with them."""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Self

import orjson

# An entity tag or `*`, with the blanks around it and the comma after it. A member may be empty.
_MEMBER = re.compile(r'[ \t]*(?P<tag>(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"|\*)?[ \t]*(?:,|\Z)')
_WEAK = "W/"
# The end of the tag of a compressed representation, which needs a tag of its own. `~` occurs
# nowhere else in our tags.
_CODED = re.compile(r'~[a-z]+"$')


def tag_of(representation: object) -> str:
    """The tag of a value that JSON can hold, with its quotes. Two values have the same tag only if
    their JSON has the same bytes."""
    digest = hashlib.sha256(orjson.dumps(representation)).digest()
    return f'"{base64.urlsafe_b64encode(digest[:18]).decode()}"'


def coded(tag: str, coding: str) -> str:
    """The tag of the same representation in a content coding, such as gzip. Tags.parse turns it
    back into `tag`."""
    return f'{tag[:-1]}~{coding}"'


@dataclass(frozen=True, slots=True)
class Tags:
    """The value of an If-Match or If-None-Match header. `any` is set if the value is `*`."""

    tags: frozenset[str]
    any: bool

    @classmethod
    def parse(cls, header: str) -> Self:
        """Raises ValueError if the header is no list of entity tags."""
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
        """Compares strongly, for If-Match: a weak tag matches nothing."""
        return self.any or tag in self.tags

    def match_weakly(self, tag: str) -> bool:
        """Compares weakly, for If-None-Match. A proxy that compresses an answer makes its strong
        tag weak, and the tag still names the same content."""
        return self.any or tag in self.tags or _WEAK + tag in self.tags
