"""Gives the modules of a running process the code that they have in another version."""

import gc
import sys
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

PLAIN = (str, tuple, list, dict, set, frozenset)


class NotHere(Exception):
    """What the version changes does not live in this process."""


def become(file: Path, code: str) -> None:
    """Replace what differs in another version of a file: its functions, else its constants.

    :raises NotHere: neither of them differs, or it can't be replaced
    """
    changed = changed_functions(file, code)
    replaced = _replace_functions(file, changed)
    if not replaced and not _replace_constants(file, code):
        raise NotHere(f"what changes in {file.name} does not live")


def changed_functions(file: Path, code: str) -> dict[tuple[str, int], CodeType]:
    """Return the other code of each function, by its name and line."""
    before = functions_of(compile(file.read_text(), str(file), "exec"))
    after = functions_of(compile(code, str(file), "exec"))
    if len(before) != len(after):
        raise NotHere(f"{file.name} has other functions")
    return {
        (old.co_qualname, old.co_firstlineno): new
        for old, new in zip(before, after, strict=True)
        if _plain(old) != _plain(new)
    }


def _replace_functions(file: Path, changed: dict[tuple[str, int], CodeType]) -> bool:
    replaced = False
    for function in [each for each in gc.get_objects() if isinstance(each, FunctionType)]:
        own = function.__code__
        new = changed.get((own.co_qualname, own.co_firstlineno))
        if new is not None and own.co_filename == str(file):
            try:
                function.__code__ = new
            except ValueError as error:  # another number of free variables
                raise NotHere(str(error)) from error
            replaced = True
    return replaced


def _replace_constants(file: Path, code: str) -> bool:
    """Replace the texts and lists of a module and its classes, wherever else they were imported."""
    modules = [each for each in sys.modules.values() if isinstance(each, ModuleType)]
    module = next((each for each in modules if getattr(each, "__file__", "") == str(file)), None)
    if module is None:
        raise NotHere(f"{file.name} is not imported")
    fresh: dict[str, Any] = {"__name__": module.__name__, "__file__": str(file)}
    exec(compile(code, str(file), "exec"), fresh)
    replaced = False
    for name, value in fresh.items():
        old = getattr(module, name, None)
        if isinstance(value, type) and value.__module__ == module.__name__:
            replaced |= _replace_attributes(old, value)
        elif isinstance(value, PLAIN) and isinstance(old, PLAIN) and repr(value) != repr(old):
            replaced = True
            for each in modules:
                if vars(each).get(name) is old:
                    setattr(each, name, value)
    return replaced


def _replace_attributes(living: Any, fresh: type) -> bool:
    replaced = False
    for name, value in vars(fresh).items():
        old = vars(living).get(name)
        if isinstance(value, tuple | list) and not name.startswith("__") and value != old:
            setattr(living, name, value)
            replaced = True
    return replaced


def functions_of(code: CodeType) -> list[CodeType]:
    """Return the code of a module's functions, inner ones after the outer, classes not counted."""
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    found = []
    for each in inner:
        found += [each, *functions_of(each)]
    return found


def _plain(code: CodeType) -> tuple[Any, ...]:
    """Return what two versions of a function have in common unless it, or one in it, differs."""
    constants = (
        _plain(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts
    )
    return (code.co_code, *constants, *code.co_names, *code.co_freevars)
