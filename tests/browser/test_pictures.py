"""The pictures in the README, from a real run: `make screenshots`. Otherwise they go to build/."""

import os

from tests.browser.conftest import PICTURES
from tests.live import ROOT

FOLDER = ROOT / os.environ.get("SCREENSHOTS", PICTURES)
SIZE = {"width": 820, "height": 620}
