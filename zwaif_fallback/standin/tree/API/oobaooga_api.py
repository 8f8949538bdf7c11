"""Plain replies from an OpenAI-compatible server."""

import os

import requests

HOST = os.environ.get("HOST_PORT")
URI = f"http://{HOST}/v1/chat/completions"
headers = {"Content-Type": "application/json"}


def api_standard(request):
    response = requests.post(URI, headers=headers, json=request, verify=False)
    return response.json()["choices"][0]["message"]["content"]
