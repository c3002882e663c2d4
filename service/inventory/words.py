"""What is searched for, in words. The function search_pattern of the database says where a word is found."""

MAX_WORDS = 10


def search_words(search: str) -> list[str]:
    """The words, the longest first. Raises ValueError where there is none, or there are more than MAX_WORDS.

    What has neither letter nor digit is left out: punctuation counts as a space."""
    words = dict.fromkeys(word for word in search.split() if any(_counts(character) for character in word))
    if not words:
        raise ValueError("must have a letter or a digit")
    if len(words) > MAX_WORDS:
        raise ValueError(f"may have at most {MAX_WORDS} words, and this has {len(words)}")
    return sorted(words, key=len, reverse=True)


def _counts(character: str) -> bool:
    return character.isalpha() or character.isdecimal()
