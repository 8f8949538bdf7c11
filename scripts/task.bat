@echo off
rem task NAME OPTIONS...: runs a task of tasks.py with the environment's Python or, before there is one, with one that suits.
rem   PYTHON   the Python to make the environment with, if not the first that suits
rem The other variables are listed in tasks.py. There are no labels here: cmd.exe misses some where lines end as on Linux.
setlocal
cd /d "%~dp0.."
if not defined ZWAIF_VENV set "ZWAIF_VENV=.venv"
rem Only what is installed counts, not what "py" could install.
set "PYTHON_MANAGER_AUTOMATIC_INSTALL=false"

set "suitable="
if exist "%ZWAIF_VENV%\Scripts\python.exe" set suitable="%ZWAIF_VENV%\Scripts\python.exe"
if defined PYTHON call scripts\try_python.bat "%PYTHON:"=%"
if not defined PYTHON for %%v in (3.11 3.12 3.13 3.10) do call scripts\try_python.bat py -%%v
if not defined PYTHON call scripts\try_python.bat python

set "status=1"
if defined suitable %suitable% scripts\tasks.py %*
if defined suitable set "status=%errorlevel%"
if not defined suitable echo A 64-bit Python 3.10, 3.11, 3.12 or 3.13 is needed, and none was found. Install 3.11 from
if not defined suitable echo python.org and start this again, or name one that you have: set PYTHON=C:\path\to\python.exe

rem Explorer starts a script as  cmd.exe /c ""PATH" "  and its window closes with it. No terminal, and no other program,
rem leaves a blank at the end.
set "line=%cmdcmdline:"=%"
call set "others=%%line:\%1.bat =%%"
if not defined CI if "%line:~-1%"==" " if not "%others%"=="%line%" pause
exit /b %status%
