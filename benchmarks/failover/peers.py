"""The peers, each through its own documented way, and the bare OpenAI client that all of them stand on.

Importing a peer takes seconds, so each is imported when it is first made; ``ImportError`` then means: not installed.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from typing import Any

from benchmarks.failover.contender import DEADLINE, Async

KEY = "not-a-key"
TUNED = {"num_retries": 0, "allowed_fails": 1, "cooldown_time": 30}
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it fetches a price list at import
os.environ.setdefault("LANGSMITH_TRACING", "false")


def base_url(address: str) -> str:
    return f"http://{address}/v1"


def client(address: str, **options: Any) -> Any:
    import openai

    return openai.AsyncOpenAI(base_url=base_url(address), api_key=KEY, timeout=DEADLINE, **options)


class BareOpenAI(Async):
    """No fallback."""

    def __init__(self, primary: str, _: str = "") -> None:
        self._client = client(primary)

    async def stream(self, question: str) -> AsyncIterator[str | None]:
        messages = [{"role": "user", "content": question}]
        async for chunk in await self._client.chat.completions.create(model="m", messages=messages, stream=True):
            if chunk.choices:
                yield chunk.choices[0].delta.content


class LiteLLM(Async):
    """``Router(fallbacks=…)`` with one deployment each."""

    def __init__(self, primary: str, second: str, **tuning: Any) -> None:
        import litellm

        litellm.suppress_debug_info = True
        self._router = litellm.Router(
            model_list=[_deployment("primary", primary), _deployment("second", second)],
            fallbacks=[{"primary": ["second"]}],
            **tuning,
        )

    async def stream(self, question: str) -> AsyncIterator[str | None]:
        messages = [{"role": "user", "content": question}]
        reply = await self._router.acompletion(model="primary", messages=messages, stream=True)
        async for chunk in reply:
            if chunk.choices:
                yield chunk.choices[0].delta.content

    def close(self) -> None:
        """Else its callbacks stay, and after a hundred of them later Routers do not learn of failures."""
        self._router.discard()


def _deployment(name: str, address: str) -> dict[str, Any]:
    limits = {"timeout": DEADLINE, "stream_timeout": DEADLINE}
    return {
        "model_name": name,
        "model_info": {"id": uuid.uuid4().hex},  # else one Router's failures cool down another's deployment
        "litellm_params": {"model": "openai/m", "api_base": base_url(address), "api_key": KEY, **limits},
    }


def tuned_litellm(primary: str, second: str) -> LiteLLM:
    return LiteLLM(primary, second, **TUNED)


class LangChain(Async):
    """``ChatOpenAI(…).with_fallbacks([…])``"""

    def __init__(self, primary: str, second: str, **options: Any) -> None:
        from langchain_openai import ChatOpenAI

        def model(address: str) -> Any:
            return ChatOpenAI(model="m", base_url=base_url(address), api_key=KEY, timeout=DEADLINE, **options)

        self._chain = model(primary).with_fallbacks([model(second)])

    async def stream(self, question: str) -> AsyncIterator[str | None]:
        async for chunk in self._chain.astream(question):
            yield chunk.content


def tuned_langchain(primary: str, second: str) -> LangChain:
    return LangChain(primary, second, max_retries=0)


class PydanticAI(Async):
    """An ``Agent`` on ``FallbackModel(…)``"""

    def __init__(self, primary: str, second: str, **options: Any) -> None:
        from pydantic_ai import Agent
        from pydantic_ai.models.fallback import FallbackModel
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        def model(address: str) -> Any:
            return OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client(address, **options)))

        self._agent = Agent(FallbackModel(model(primary), model(second)))

    async def stream(self, question: str) -> AsyncIterator[str | None]:
        async with self._agent.run_stream(question) as reply:
            async for text in reply.stream_text(delta=True, debounce_by=None):
                yield text


def tuned_pydantic_ai(primary: str, second: str) -> PydanticAI:
    return PydanticAI(primary, second, max_retries=0)
