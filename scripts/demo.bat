@echo off
rem Sets up .venv if it is missing, then plays the demo. Options go to "zwaif-fallback demo".
setlocal
cd /d "%~dp0.."
call scripts\setup.bat || exit /b 1
.venv\Scripts\python -m zwaif_fallback demo %*
