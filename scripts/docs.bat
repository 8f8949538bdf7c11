@rem Writes the pages that come from the code: docs/settings.md and docs/cli.md.
@"%~dp0task.bat" docs %*
