"""The tests, and what they share: helpers are imported as `tests.…`, so that nothing can be taken for the package."""
