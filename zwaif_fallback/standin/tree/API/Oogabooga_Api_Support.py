"""The controller's name in old releases, kept so that scripts written for them find the two functions they used."""

from API.api_controller import receive_via_oogabooga, send_via_oogabooga

__all__ = ["receive_via_oogabooga", "send_via_oogabooga"]
