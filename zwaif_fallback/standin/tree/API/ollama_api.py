"""Replies from Ollama, through its own client."""

import os

import API.api_controller
import utils.settings
from ollama import chat

ollama_model = os.environ.get("ZW_OLLAMA_MODEL")
ollama_model_visual = os.environ.get("ZW_OLLAMA_MODEL_VISUAL")
model_configs = utils.settings.read_json("OllamaModelConfigs.json")


def api_standard(history, temp_level, stop, max_tokens):
    options = get_temperature_options(temp_level, stop, max_tokens)
    return chat(model=ollama_model, messages=history, keep_alive="25h", options=options).message.content


def api_stream(history, temp_level, stop, max_tokens):
    options = get_temperature_options(temp_level, stop, max_tokens)
    return chat(model=ollama_model, messages=history, stream=True, keep_alive="25h", options=options)


def api_standard_image(history):
    return chat(model=ollama_model_visual, messages=history, keep_alive="25h").message.content


def api_stream_image(history):
    return chat(model=ollama_model_visual, messages=history, stream=True, keep_alive="25h")


def get_temperature_options(temp_level, stop, max_tokens):
    if temp_level == -1:
        return None
    limits = {"num_ctx": API.api_controller.max_context, "stop": stop, "num_predict": max_tokens}
    return {**model_configs[temp_level], **limits}
