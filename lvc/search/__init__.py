"""Which video, and where in it: vectors of many files in one folder, and what is near to a query.

sources    a file ─▶ vectors with times        (a .lvz brings them along; others are looked at)
database   files and vectors in one SQLite file
nearest    the nearest of a million vectors, in numpy
align      where a query lies in a file
indexing, queries   the jobs
labels, tagging     labelled videos ─▶ a classifier ─▶ tags with times
sheet      a picture of the results
"""

from __future__ import annotations

from lvc.search.database import Database
from lvc.search.index import SearchIndex
from lvc.search.indexing import Indexed, index_folders, is_under, name_of
from lvc.search.queries import Common, Group, Hit, duplicates, query, similar
from lvc.search.sources import Moments, moments_of, parse_target

__all__ = [
    "Common",
    "Database",
    "Group",
    "Hit",
    "Indexed",
    "Moments",
    "SearchIndex",
    "duplicates",
    "index_folders",
    "is_under",
    "moments_of",
    "name_of",
    "parse_target",
    "query",
    "similar",
]
