"""The page docs/EVENTS.md, which shows the payload of every event type."""

import json

from service.documents.examples import EXAMPLES
from service.events.catalogue import CATALOGUE

_HEADER = """# Payloads

`make documents` makes this page from the catalogue of events. It shows the whole body of a delivery
for each type, with the keys in the order in which they are sent. On the wire the body is compact;
here it has line breaks. The [guide](WEBHOOKS_GUIDE.md#events) says when each type is written, and
how to verify it.
"""


def document() -> str:
    """The Markdown. Raises LookupError for a field without an example."""
    parts = [_HEADER, "\n".join(f"- [`{name}`](#{name})" for name in CATALOGUE) + "\n"]
    for name, event in CATALOGUE.items():
        body = json.dumps(EXAMPLES[name].payload, indent=2, ensure_ascii=False)
        parts.append(f"## `{name}`\n\n{event.summary}\n\n```json\n{body}\n```\n")
    return "\n".join(parts)
