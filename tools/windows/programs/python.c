/* python.exe and pythonw.exe (built with -mwindows): hand the command line to the Python DLL that lies beside them. */
#include <windows.h>

typedef int (*python_main)(int, wchar_t **);

int wmain(int argc, wchar_t **argv)
{
    wchar_t path[1024];
    GetModuleFileNameW(NULL, path, 1000);
    wcscpy(wcsrchr(path, L'\\') + 1, L"python311.dll");
    HMODULE python = LoadLibraryExW(path, NULL, LOAD_WITH_ALTERED_SEARCH_PATH);
    if (python == NULL)
        return 103;
    python_main run = (python_main)(void *)GetProcAddress(python, "Py_Main");
    return run(argc, argv);
}
