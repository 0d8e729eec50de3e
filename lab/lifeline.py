"""What ties a process to the one that started it."""

import shutil


def ends_with_us(signal: str) -> list[str]:
    """Return what has the kernel send a command a signal when its parent ends, even by kill -9.

    The parent is the very thread that starts it: let that one live as long as the command shall.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", signal] if setpriv else []
