@echo off
rem Makes .venv and installs this checkout into it, editable, with what the tests need.
setlocal
cd /d "%~dp0.."
if exist .venv\.ready-for-test exit /b 0
echo Setting up .venv (once; a few minutes, most of them for PyTorch) ...
if not exist .venv\Scripts\python.exe py -3 -m venv .venv || python -m venv .venv || exit /b 1
.venv\Scripts\python -c "import torch" 2>nul || .venv\Scripts\python -m pip install --quiet torch || exit /b 1
.venv\Scripts\python -m pip install --quiet --editable .[test] || exit /b 1
type nul > .venv\.ready-for-test
