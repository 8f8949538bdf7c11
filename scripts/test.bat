@echo off
rem Sets up .venv if it is missing, then checks style, types and everything pytest finds. Options go to pytest.
setlocal
cd /d "%~dp0.."
call scripts\setup.bat || exit /b 1
.venv\Scripts\ruff check . || exit /b 1
.venv\Scripts\ruff format --check . || exit /b 1
.venv\Scripts\mypy zwaif_fallback hooks\zwaif_hooks test_api_fallback.py || exit /b 1
.venv\Scripts\python -m pytest %*
