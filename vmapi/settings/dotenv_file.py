"""The file `.env`: variables for the environment, in UTF-8."""

import codecs
from io import StringIO
from pathlib import Path

from dotenv import load_dotenv

from vmapi.errors import SettingsError

ENCODING_ADVICE = "save the file as UTF-8"


def load_dotenv_file(path: Path) -> None:
    """Copy the variables of a file into the environment, where they do not exist yet.

    A file that does not exist has no variables. Raises SettingsError for a file that cannot be
    read or is no text in UTF-8; a byte order mark is allowed.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        return
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        reason = "it is UTF-16" if is_utf16 else f"see line {line}"
        raise SettingsError(f"{path}: not text in UTF-8 ({reason}); {ENCODING_ADVICE}") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    if "\0" in text:
        raise SettingsError(f"{path}: contains a NUL; {ENCODING_ADVICE}")
    load_dotenv(stream=StringIO(text))
