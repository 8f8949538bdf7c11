@rem Makes .venv and installs this checkout into it, editable, with what the tests need. Does nothing when that is done.
@"%~dp0task.bat" setup %*
