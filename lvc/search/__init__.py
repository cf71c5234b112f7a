"""Which video, and where in it: vectors of many files in one folder, and what is near to a query.

sources    a file ─▶ vectors with times        (a .lvz brings them along; others are looked at)
database   files and vectors in one SQLite file
nearest    the nearest of a million vectors, in numpy
align      where a query lies in a file
hearing    where a sound is heard in it
indexing, queries, ways   the jobs
labels, tagging     labelled videos ─▶ a classifier ─▶ tags with times
sheet      a picture of the results
"""

from __future__ import annotations

from lvc.search.database import Database
from lvc.search.hearing import Sounds
from lvc.search.index import SearchIndex
from lvc.search.indexing import Indexed, index_folders, is_under, name_of
from lvc.search.queries import Common, Group, Hit, duplicates, query, query_sound, similar
from lvc.search.sources import Moments, moments_of, parse_target, sounds_of
from lvc.search.ways import Asked, find

__all__ = [
    "Asked",
    "Common",
    "Database",
    "Group",
    "Hit",
    "Indexed",
    "Moments",
    "SearchIndex",
    "Sounds",
    "duplicates",
    "find",
    "index_folders",
    "is_under",
    "moments_of",
    "name_of",
    "parse_target",
    "query",
    "query_sound",
    "similar",
    "sounds_of",
]
