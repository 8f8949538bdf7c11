@rem Style, formatting, and types for Linux, macOS and Windows. `lint fix` mends what can be mended first.
@"%~dp0task.bat" lint %*
