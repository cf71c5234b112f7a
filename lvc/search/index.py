"""`lvc.SearchIndex`: the jobs of `lvc search` for programs."""

from __future__ import annotations

import os

from lvc.errors import UsageError
from lvc.features import SPACING
from lvc.search.database import Collection, Database
from lvc.search.indexing import Begun, Indexed, Seen, index_folders, name_of
from lvc.search.nearest import Nearest
from lvc.search.queries import Group, Hit, Way, duplicates, similar
from lvc.search.sources import moments_of
from lvc.search.ways import Asked, find


class SearchIndex:
    """A database of what videos show and sound like, in a folder; a context manager.

        with lvc.SearchIndex("films.db") as index:
            index.add("archive/")
            for hit in index.find("clip.mp4", start=12, end=16):
                print(hit.path, hit.start, hit.score)

    It stores about one vector of 64 bytes for each second of video. A `.lvz` carries them, so that nothing is decoded;
    other videos and pictures are. Processes may share a database; threads may not share this object.
    """

    def __init__(self, folder: str | os.PathLike[str], *, create: bool = True) -> None:
        """Open or create a database.

        Args:
            folder: Its folder.
            create: Create the database where there is none, and replace one of an older lvc.

        Raises:
            UsageError: There is none and `create` is false, or `folder` is a file.
            CorruptError: The database is damaged.
            UnsupportedError: It was made with other features, and `create` is false.
        """
        self._database = Database(folder, create=create)
        self._loaded: tuple[Collection, Nearest] | None = None

    def add(
        self,
        *paths: str | os.PathLike[str],
        threads: int | None = None,
        seen: Seen | None = None,
        begun: Begun | None = None,
    ) -> Indexed:
        """Update the database from files and folders: read what is new or changed, remove what is gone.

        Args:
            paths: Videos, pictures and folders: paths or addresses.
            threads: Cores to decode with; `None` means all.
            seen: Called after each file with its path, the outcome, and the error or `None`.
            begun: Called before each file with its number, the number of files, and its path.

        Returns:
            The numbers of files added, changed, removed, unchanged and failed. A file that cannot be read raises
            nothing.

        Raises:
            MediaError: A path neither exists nor is in the database.
            UsageError: Two addresses differ only in their query string.
        """
        self._loaded = None
        return index_folders(paths, self._database, threads=threads, seen=seen, begun=begun)

    def find(
        self,
        path: str | os.PathLike[str],
        start: float | None = None,
        end: float | None = None,
        *,
        by: Way | None = None,
        top: int = 10,
        tag: str | None = None,
        threads: int | None = None,
    ) -> list[Hit]:
        """Find the videos that show or sound like this, and where in them.

        Args:
            path: A video, a picture or a sound file: a path or an address. It need not be in the database.
            start: Start of the query in seconds; without `end`, the query is the picture at this time.
            end: Its end in seconds.
            by: Compare by `picture`, `sound` or `both`. `None`: by picture, or by sound for a sound file.
            top: The most results to return.
            tag: Only hits that touch a range with this tag, which `lvc tag --db` found.
            threads: Cores to decode with; `None` means all.

        Returns:
            Hits, best first: path, `start` and `end` in seconds, `score` up to 1, `speed`, `by`.

        Raises:
            UsageError: The range is empty, no video has the tag, or none has sound to compare.
            MediaError: The file cannot be read, or has no frame at that time.
            CorruptError: The `.lvz` or the database is damaged.
        """
        if end is not None and end <= (start or 0.0):
            raise UsageError("the range is empty — it has to end after its start")
        tagged = None if tag is None else self._database.tags(tag)
        begin = 0.0 if start is None and end is not None else start
        asked = Asked.of(path, begin, end, by, threads)
        if tagged is not None:
            return find(self._database.load(tagged), asked, top, tagged=tagged)
        collection, nearest = self._collection()
        return find(collection, asked, top, nearest)

    def similar(
        self, path: str | os.PathLike[str], *, top: int = 10, tag: str | None = None, threads: int | None = None
    ) -> list[Hit]:
        """Find the videos that are most like this one as a whole.

        Args:
            path: A video: a path or an address. It is left out of the results.
            top: The most results to return.
            tag: Only videos with this tag, which `lvc tag --db` found.
            threads: Cores to decode with; `None` means all.

        Returns:
            Hits, best first.

        Raises:
            UsageError: No video has the tag.
            MediaError: The file cannot be read.
            CorruptError: The `.lvz` or the database is damaged.
        """
        moments = moments_of(path, spacing=SPACING, threads=threads)
        collection = self._collection()[0] if tag is None else self._database.load(self._database.tags(tag))
        return similar(collection, moments, top, name_of(path))

    def duplicates(self) -> list[Group]:
        """Find re-encodes, crops and excerpts of the same footage in the database.

        Returns:
            Groups of files, largest first, each with the footage that its files share.

        Raises:
            CorruptError: The database is damaged.
        """
        return duplicates(self._collection()[0])

    def _collection(self) -> tuple[Collection, Nearest]:
        if self._loaded is None:
            collection = self._database.load()
            self._loaded = collection, Nearest(collection.vectors)
        return self._loaded

    def close(self) -> None:
        """Close the database."""
        self._database.__exit__()

    def __enter__(self) -> SearchIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
