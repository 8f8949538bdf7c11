"""Hangout mode: she looks at the screen now and then, and stops talking when somebody says her name."""

import API.api_controller
import utils.settings


def reply_decide(input_text):
    """Whether she answers what she overheard: always when spoken to."""
    if utils.settings.char_name.lower() in input_text.lower():
        return "Reply"
    return "Think" if input_text.endswith("?") else "Wait"


def heard_name():
    """Ends the reply that is being spoken."""
    API.api_controller.flag_end_streaming = True
