"""What tests share: clips and models made on the spot, servers, the command line as a process, waiting.

Imported as `tests.helpers.clips` and so on, by tests and by `scripts/`. None of it is a test.
"""
