"""The HTTP code that all routes share: parsing, paging, problems, limits."""
