"""Chat templates as widely used models have them: written for tests, with the constructs of the models they are named
after, and the tokens of those models that have a meaning of their own."""

from __future__ import annotations

from pathlib import Path

TEMPLATES = {file.stem: file.read_text(encoding="utf-8") for file in sorted(Path(__file__).parent.glob("*.jinja"))}
WITHOUT_SYSTEM = ("gemma-2", "mistral-0.1")
"""Models whose template refuses a system message."""
_CHATML = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
_GEMMA = (
    "<bos>",
    "<eos>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<start_of_image>",
    *(f"<unused{n}>" for n in range(99)),
)
_PHI_3 = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>", "<|placeholder1|>")
_LLAMA_3 = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>",
            "<|python_tag|>", *(f"<|reserved_special_token_{n}|>" for n in range(30)))  # fmt: skip
_COMMAND_R = ("<BOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|SYSTEM_TOKEN|>", "<|USER_TOKEN|>",
              "<|CHATBOT_TOKEN|>")  # fmt: skip
_DEEPSEEK = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>")
_SENTENCEPIECE = ("<s>", "</s>", "<unk>")
CONTROL = {
    "alpaca": _SENTENCEPIECE,
    "chatml": _CHATML,
    "command-r": _COMMAND_R,
    "deepseek": (
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜User｜>",
        "<｜Assistant｜>",
        "<think>",
        "</think>",
    ),
    "gemma-2": _GEMMA,
    "gemma-3": _GEMMA,
    "llama-2": _SENTENCEPIECE,
    "llama-3": _LLAMA_3,
    "mistral-0.1": _SENTENCEPIECE,
    "mistral-0.3": (*_SENTENCEPIECE, "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[control_8]"),
    "phi-3": _PHI_3,
    "phi-4": (*_CHATML, "<|im_sep|>"),
    "qwen-2": (*_CHATML, "<tool_call>", "</tool_call>", "<|vision_start|>"),
    "qwen-3": (*_CHATML, "<tool_call>", "</tool_call>", "<think>", "</think>", "<tool_response>"),
    "smollm-3": (*_CHATML, "<think>", "</think>", "<|reserved_special_token_4|>"),
    "vicuna": _SENTENCEPIECE,
    "zephyr": _SENTENCEPIECE,
}
BLANKS = ("\n\n", "    ", "▁▁▁")
"""Runs of blanks, which some tokenizers have among their added tokens; they mean no more than what they are."""
