"""The state of the hotkeys; here only code presses them."""

NEXT_PRESSED = False
SPEAK_TOGGLED = False


def do_next_press_input():
    global NEXT_PRESSED
    NEXT_PRESSED = True


def pull_next_press_input():
    """True once for each press."""
    global NEXT_PRESSED
    pressed, NEXT_PRESSED = NEXT_PRESSED, False
    return pressed


def speak_input_toggle():
    global SPEAK_TOGGLED
    SPEAK_TOGGLED = not SPEAK_TOGGLED
