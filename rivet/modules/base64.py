"""The Lua module `base64`."""

import base64
import binascii

from rivet.modules.contract import Call, CallError, StageContext, about

MAX_BYTES = 6 * 1024 * 1024 - 4096


class Encode(Call, module="base64", short=("text",)):
    """Any bytes as base64, on one line."""

    text: bytes = about("what to encode", maximum=MAX_BYTES)
    example = 'local header = "Basic " .. base64.encode("user:word")'

    def act(self, stage: StageContext) -> bytes:
        return base64.b64encode(self.text)


class Decode(Call, module="base64", short=("text",)):
    """The bytes that base64 stands for. Line breaks and blanks in it do not count."""

    text: bytes = about("base64, with its padding", maximum=8 * 1024 * 1024 - 4096)
    example = 'local text = base64.decode("aGVsbG8=")'

    def act(self, stage: StageContext) -> bytes:
        try:
            return base64.b64decode(b"".join(self.text.split()), validate=True)
        except binascii.Error as error:
            raise CallError(f"base64.decode: text: expected base64 with its padding: {error}") from None
