"""Language names as files and containers write them, to ISO 639-1. Pure."""

from __future__ import annotations

_ALIASES: dict[str, str] = {
    "af": "afr afrikaans", "am": "amh amharic", "ar": "ara arabic", "az": "aze",
    "be": "bel", "bg": "bul bulgarian", "bn": "ben bengali", "bs": "bos", "ca": "cat catalan",
    "cs": "ces cze czech", "cy": "cym wel welsh", "da": "dan danish",
    "de": "deu ger german deutsch",
    "el": "ell gre greek", "en": "eng english", "eo": "epo", "es": "spa spanish español castellano",
    "et": "est estonian", "eu": "eus baq basque", "fa": "fas per persian farsi",
    "fi": "fin finnish", "fr": "fra fre french français", "ga": "gle irish", "gl": "glg",
    "gu": "guj", "he": "heb hebrew iw", "hi": "hin hindi", "hr": "hrv croatian",
    "hu": "hun hungarian", "hy": "hye arm armenian", "id": "ind indonesian in", "is": "isl ice",
    "it": "ita italian italiano", "ja": "jpn japanese jp 日本語", "ka": "kat geo georgian",
    "kk": "kaz", "km": "khm khmer", "kn": "kan kannada", "ko": "kor korean kr 한국어", "lo": "lao",
    "lt": "lit lithuanian", "lv": "lav latvian", "mk": "mkd mac", "ml": "mal malayalam",
    "mn": "mon", "mr": "mar marathi", "ms": "msa may malay", "mt": "mlt", "my": "mya bur burmese",
    "nb": "nob", "ne": "nep", "nl": "nld dut dutch nederlands", "nn": "nno",
    "no": "nor norwegian", "pa": "pan", "pl": "pol polish polski", "pt": "por portuguese português",
    "ro": "ron rum romanian", "ru": "rus russian русский", "si": "sin", "sk": "slk slo slovak",
    "sl": "slv slovenian", "sq": "sqi alb", "sr": "srp serbian", "sv": "swe swedish svenska",
    "sw": "swa", "ta": "tam tamil", "te": "tel telugu", "th": "tha thai", "tl": "tgl fil",
    "tr": "tur turkish türkçe", "uk": "ukr ukrainian", "ur": "urd", "uz": "uzb",
    "vi": "vie vietnamese", "yue": "cantonese",
    "zh": "zho chi chinese chs cht cn sc tc cmn 中文 简体 繁體 简体中文",
}  # fmt: skip
_CODES = {code: code for code in _ALIASES} | {
    alias: code for code, aliases in _ALIASES.items() for alias in aliases.split()
}


def to_iso639_1(tag: str) -> str:
    """`eng`, `en-US`, `English`, `zh-Hans`, `chs` as `en`, `zh`; "" for anything unknown.

    Cantonese stays `yue`, which has no two-letter code.
    """
    folded = tag.strip().casefold().replace("_", "-")
    return _CODES.get(folded) or _CODES.get(folded.split("-")[0], "")
