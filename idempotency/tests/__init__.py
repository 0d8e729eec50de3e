"""The app's tests, and the smallest Django project that they run in: stock DRF, the admin on."""
