@rem Writes the pages that come from the code: docs/settings.md, docs/cli.md and docs/model-list.md.
@"%~dp0task.bat" docs %*
