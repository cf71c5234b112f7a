"""Video search: which video shows something, and where. Feature vectors of many files, compared with those of a query.

sources    a file ─▶ vectors with times        (a .lvz carries them; other files are decoded)
database   files and vectors in an SQLite file
nearest    nearest neighbours among a million vectors, in numpy
align      the place of a query in a file
hearing    the place of a sound in a file
indexing, queries, ways   the jobs
labels, tagging     labelled videos ─▶ a classifier ─▶ tags with times
sheet      a contact sheet of the results
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
