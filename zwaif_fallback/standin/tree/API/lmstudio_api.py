"""Replies from LM Studio, through its own client."""

import os

import lmstudio as lms
import utils.settings

lmstudio_model = os.environ.get("ZW_LMSTUDIO_MODEL")
lmstudio_model_visual = os.environ.get("ZW_LMSTUDIO_MODEL_VISUAL")
model_configs = utils.settings.read_json("LMStudioModelConfigs.json")


def api_standard(history, temp_level, stop, max_tokens):
    model = lms.llm(lmstudio_model)
    chat = lms.Chat.from_history({"messages": history})
    return model.respond(chat, config=get_temperature_options(temp_level, stop, max_tokens)).content


def api_stream(history, temp_level, stop, max_tokens):
    model = lms.llm(lmstudio_model)
    chat = lms.Chat.from_history({"messages": history})
    return model.respond_stream(chat, config=get_temperature_options(temp_level, stop, max_tokens))


def _with_image(history, text_input):
    chat = lms.Chat.from_history({"messages": history})
    chat.add_user_message(text_input, images=[lms.prepare_image("LiveImage.png")])
    return chat


def api_standard_image(history, text_input, temp_level, stop, max_tokens):
    model = lms.llm(lmstudio_model)
    options = get_temperature_options(temp_level, stop, max_tokens)
    return model.respond(_with_image(history, text_input), config=options).content


def api_stream_image(history, text_input, temp_level, stop, max_tokens):
    model = lms.llm(lmstudio_model)
    options = get_temperature_options(temp_level, stop, max_tokens)
    return model.respond_stream(_with_image(history, text_input), config=options)


def get_temperature_options(temp_level, stop, max_tokens):
    if temp_level == -1:
        return None
    chosen = model_configs[temp_level]
    return {
        "temperature": chosen["temperature"],
        "minPSampling": chosen["min_p"],
        "topKSampling": chosen["top_k"],
        "repeatPenalty": chosen["repeat_penalty"],
        "stopStrings": stop,
        "maxTokens": max_tokens,
    }
