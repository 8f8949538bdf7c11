@rem Sets "suitable" to the command %*, unless it is set, if that starts a Python that suits.
@if defined suitable exit /b 0
@call %* scripts\tasks.py suits >nul 2>nul
@if "%errorlevel%"=="0" set suitable=%*
@exit /b 0
