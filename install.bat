@echo off
rem Puts zwaif-fallback into Z-Waif's own environment. To be double-clicked, or Z-Waif's folder dragged onto it.
rem Z-Waif is looked for around this file; else its folder is asked for. No labels: cmd.exe misses some in LF files.
setlocal
set "here=%~dp0"
set "installer=%here%scripts\install.py"
rem This file may have been copied beside Z-Waif's startup.bat, with the project's folder next to it.
cd /d "%here%"
if not exist "%installer%" for /d %%d in (zwaif-fallback*) do if exist "%%~d\scripts\install.py" set "installer=%here%%%~d\scripts\install.py"

set "zwaif="
for %%f in ("%~1" "%here%." "%here%.." "%here%..\..") do if not defined zwaif if not "%%~f"=="" if exist "%%~f\main.py" if exist "%%~f\startup.bat" set "zwaif=%%~ff"
if exist "%installer%" if not defined zwaif echo Where is Z-Waif? Drag its folder, the one with startup.bat, into this window and press Enter.
if exist "%installer%" if not defined zwaif set /p "zwaif=Z-Waif's folder: "
if defined zwaif set "zwaif=%zwaif:"=%"
set "python=%zwaif%\venv\Scripts\python.exe"

set "status=1"
set "problem="
if not exist "%python%" set "problem=Z-Waif's environment, the folder venv, is not there yet. Start Z-Waif once with startup-Install.bat, then this again."
if not exist "%zwaif%\main.py" set "problem=That is not Z-Waif's folder: it has no main.py. Start this again with the folder that has startup.bat."
if not exist "%installer%" set "problem=The rest of the project is missing. Unpack the whole ZIP first: right-click it, Extract All."
if defined problem echo %problem%
if not defined problem "%python%" "%installer%" "%zwaif%"
if not defined problem set "status=%errorlevel%"
if not defined CI pause
exit /b %status%
