@rem Writes docs/settings.md, docs/cli.md and docs/model-list.md, and builds the site. `docs --check` writes no page.
@"%~dp0task.bat" docs %*
