"""What the Debug tab shows."""

debug_log = "General Debug log"
rag_log = "RAG log"
kelvin_log = "Preset of the last request"


def update_debug_log(text):
    global debug_log
    debug_log += "\n\n" + str(text)


def update_rag_log(text):
    global rag_log
    rag_log += "\n\n" + str(text)


def clear_rag_log():
    global rag_log
    rag_log = ""


def update_kelvin_log(text):
    global kelvin_log
    kelvin_log = text
