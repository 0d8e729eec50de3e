"""The project's settings, with the benchmark's own paths beside the API's."""

from config.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.baseline.urls"
