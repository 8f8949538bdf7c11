@rem Sets up .venv if it is missing, then plays the demo. Options go to `zwaif-fallback demo`.
@"%~dp0task.bat" demo %*
