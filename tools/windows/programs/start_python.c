/* Programs that start a Python as a child and end with its exit code:
 *
 *   -DVENV              Scripts\python.exe of a virtual environment. As that of python.org's installer it is no Python but
 *                       starts the one that ..\pyvenv.cfg names, in a job that ends with it: so the process that a
 *                       program starts is not the Python that it talks to.
 *   -DVENV -DWINDOWED   its pythonw.exe
 *   (neither)           py.exe, for the one Python there is, C:\Python311
 */
#include <stdio.h>
#include <windows.h>

#ifdef WINDOWED
#define PROGRAM L"pythonw.exe"
#else
#define PROGRAM L"python.exe"
#endif

static wchar_t command[32768];

/* What follows the program's own name on the command line. */
static wchar_t *arguments(void)
{
    wchar_t *at = GetCommandLineW();
    int quoted = 0;
    for (; *at && (quoted || (*at != L' ' && *at != L'\t')); at++)
        if (*at == L'"')
            quoted = !quoted;
    while (*at == L' ' || *at == L'\t')
        at++;
    return at;
}

#ifdef VENV
static int choose(void)
{
    static wchar_t own[2048], config[2048], line[4096];
    GetModuleFileNameW(NULL, own, 2000);
    wcscpy(config, own);
    for (int up = 0; up < 2; up++)
        *wcsrchr(config, L'\\') = 0;
    wcscat(config, L"\\pyvenv.cfg");
    FILE *file = _wfopen(config, L"rt, ccs=UTF-8");
    if (file == NULL)
        return 106;
    while (fgetws(line, 4096, file)) {
        wchar_t home[4096];
        if (swscanf(line, L"home = %l[^\r\n]", home) == 1) {
            fclose(file);
            SetEnvironmentVariableW(L"__PYVENV_LAUNCHER__", own); /* how the Python learns which environment it is for */
            _snwprintf(command, 32767, L"\"%ls\\" PROGRAM L"\" %ls", home, arguments());
            return 0;
        }
    }
    fclose(file);
    return 107;
}
#else
static int choose(void)
{
    wchar_t *rest = arguments();
    if (wcsncmp(rest, L"-3", 2) == 0) {
        size_t length = wcscspn(rest, L" \t");
        if (length != 2 && !(length == 5 && wcsncmp(rest, L"-3.11", 5) == 0)) {
            fputs("No suitable Python runtime found\n", stderr);
            return 103;
        }
        rest += length;
    }
    _snwprintf(command, 32767, L"\"C:\\Python311\\python.exe\" %ls", rest);
    return 0;
}
#endif

static HANDLE inheritable(DWORD which)
{
    HANDLE handle = GetStdHandle(which);
    SetHandleInformation(handle, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT);
    return handle;
}

static BOOL WINAPI leave_it_to_the_child(DWORD event)
{
    return TRUE;
}

int wmain(void)
{
    int problem = choose();
    if (problem)
        return problem;
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {0};
    limits.BasicLimitInformation.LimitFlags =
        JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK;
    HANDLE job = CreateJobObjectW(NULL, NULL);
    SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits);
    SetConsoleCtrlHandler(leave_it_to_the_child, TRUE);
    STARTUPINFOW start;
    PROCESS_INFORMATION child;
    DWORD status = 101;
    GetStartupInfoW(&start);
    start.dwFlags |= STARTF_USESTDHANDLES;
    start.hStdInput = inheritable(STD_INPUT_HANDLE);
    start.hStdOutput = inheritable(STD_OUTPUT_HANDLE);
    start.hStdError = inheritable(STD_ERROR_HANDLE);
    if (!CreateProcessW(NULL, command, NULL, NULL, TRUE, 0, NULL, NULL, &start, &child))
        return status;
    AssignProcessToJobObject(job, child.hProcess);
    WaitForSingleObject(child.hProcess, INFINITE);
    GetExitCodeProcess(child.hProcess, &status);
    return (int)status;
}
