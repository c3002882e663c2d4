"""The words of a search. The database's function search_pattern decides where a word is found."""

MAX_WORDS = 10


def search_words(search: str) -> list[str]:
    """The words of `search`, the longest first. Raises ValueError if there is none, or if there are
    more than MAX_WORDS.

    Punctuation counts as a space. So a word without a letter or a digit is left out."""
    words = dict.fromkeys(word for word in search.split() if any(_counts(character) for character in word))
    if not words:
        raise ValueError("must have a letter or a digit")
    if len(words) > MAX_WORDS:
        raise ValueError(f"may have at most {MAX_WORDS} words, and this has {len(words)}")
    return sorted(words, key=len, reverse=True)


def _counts(character: str) -> bool:
    return character.isalpha() or character.isdecimal()
