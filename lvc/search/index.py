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
    """A folder with a database of what videos show; a context manager.

        with lvc.SearchIndex("films.db") as index:
            index.add("archive/")
            for hit in index.find("clip.mp4", start=12, end=16):
                print(hit.path, hit.start, hit.score)

    About one vector of 64 bytes a second is kept of each file. A `.lvz` brings them along, so that nothing is decoded;
    other videos and pictures are looked at. Not to be shared by threads; processes may.
    """

    def __init__(self, folder: str | os.PathLike[str], *, create: bool = True) -> None:
        """Open a database, or begin one.

        Args:
            folder: Its folder.
            create: Begin one where there is none, or where there is one of an older lvc.

        Raises:
            UsageError: There is none and `create` is false, or a file is in its place.
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
        """Bring the database up to date with files and folders: what is new or changed is read, what is gone leaves.

        Args:
            paths: Videos, pictures, folders, and addresses of these.
            threads: Cores to decode with. None takes all.
            seen: Called after each file with its path, what was done, and the error or None.
            begun: Called before each file with its number, how many there are, and its path.

        Returns:
            How many files were added, changed, removed, unchanged and failed. A file that cannot be read is no error.

        Raises:
            MediaError: A path does not exist, and was not known either.
            UsageError: Two addresses differ in their query alone.
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
        """Which videos show this, or sound like it, and where in them.

        Args:
            path: A video, a picture or a sound file: a path or an address. It need not be in the database.
            start: Seconds at which what is asked for begins; without `end`, the one picture there.
            end: Seconds at which it ends.
            by: `picture`, `sound`, or `both`: what is seen or heard. None: by picture, and a sound file by sound.
            top: How many results at most.
            tag: Only hits that touch a range with this tag, which `lvc tag --db` found.
            threads: Cores to decode with. None takes all.

        Returns:
            Hits, the best first: path, `start` and `end` in seconds, `score` up to 1, `speed`, `by`.

        Raises:
            UsageError: The range is empty, no video has the tag, or none has sound that is asked for.
            MediaError: The file cannot be read, or shows nothing at that time.
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
        """Videos that are, as a whole, most like this one.

        Args:
            path: A video: a path or an address. It is left out of the results.
            top: How many results at most.
            tag: Only videos with this tag, which `lvc tag --db` found.
            threads: Cores to decode with. None takes all.

        Returns:
            Hits, the best first.

        Raises:
            UsageError: No video has the tag.
            MediaError: The file cannot be read.
            CorruptError: The `.lvz` or the database is damaged.
        """
        moments = moments_of(path, spacing=SPACING, threads=threads)
        collection = self._collection()[0] if tag is None else self._database.load(self._database.tags(tag))
        return similar(collection, moments, top, name_of(path))

    def duplicates(self) -> list[Group]:
        """Re-encodes, crops and excerpts of the same footage in the database.

        Returns:
            Groups of files, the largest first, each with what connects them.

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
        """Let go of the database."""
        self._database.__exit__()

    def __enter__(self) -> SearchIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
