@rem Sets up .venv if it is missing, then checks style, types and everything pytest finds. With --quick: in a minute; with --coverage: all tests, measured.
@rem Further options go to pytest.
@"%~dp0task.bat" test %*
