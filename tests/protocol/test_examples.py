"""The examples in the docstrings of the protocol's modules are true."""

import doctest
import importlib
import pkgutil

import pytest

from mainer_nb import protocol

MODULES = [module.name for module in pkgutil.walk_packages(protocol.__path__, f"{protocol.__name__}.")]


def examples(name: str) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder().find(importlib.import_module(name)) if test.examples]


@pytest.mark.parametrize("name", [name for name in MODULES if examples(name)])
def test_examples_are_true(name: str) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in examples(name):
        assert runner.run(test).failed == 0, test.name
