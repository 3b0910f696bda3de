"""Words, keys and weights in many languages; guessing the language."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.text.language import guess_language
from gs_video_report.text.stems import stem
from gs_video_report.text.stopwords import frequent_short_words, function_words, languages
from gs_video_report.text.tokens import Tokenizer
from gs_video_report.text.unspaced import cut_chinese, cut_thai, simplify


def words(language: str, text: str) -> list[str]:
    return [t.text for t in Tokenizer.for_texts(language, [text]).tokens(text)]


def content(language: str, text: str) -> list[str]:
    return [t.text for t in Tokenizer.for_texts(language, [text]).tokens(text) if t.weight > 0.4]


def test_chinese_is_cut_by_dictionary() -> None:
    assert words("zh", "光反应发生在类囊体薄膜上") == [
        "光反应",
        "发生",
        "在",
        "类囊体",
        "薄膜",
        "上",
    ]


def test_traditional_chinese_is_cut_like_simplified_and_shown_as_written() -> None:
    tokens = Tokenizer.for_texts("zh", []).tokens("機器學習的目標")
    assert [t.text for t in tokens] == ["機器學習", "的", "目標"]
    assert [t.key for t in tokens] == ["机器学习", "的", "目标"]


def test_simplified_text_is_never_changed_by_the_look_up_table() -> None:
    text = "著名的乾隆皇帝了解后来的发展，干净的面条里有长发"
    assert simplify(text) == text


def test_recurring_pairs_outside_the_dictionary_become_words() -> None:
    text = "鲽鳉很小。鲽鳉吃虫。我们养鲽鳉。"
    assert words("zh", text).count("鲽鳉") == 3


def test_chinese_and_english_mix() -> None:
    assert content("zh", "我们用 Python 3 训练 ReLU 和 C++ 的模型") == [
        "Python",
        "训练",
        "ReLU",
        "C++",
        "模型",
    ]


def test_japanese_content_is_kanji_and_katakana() -> None:
    assert content("ja", "機械学習のモデルはデータから学びます") == ["機械学習", "モデル", "データ"]


def test_thai_is_cut_by_dictionary() -> None:
    found = words("th", "พลังงานแสงเป็นพลังงานเคมี")
    assert found == ["พลังงาน", "แสง", "เป็น", "พลังงาน", "เคมี"]


def test_korean_particles_are_split_from_nouns() -> None:
    assert words("ko", "데이터는 모델의 성능을") == ["데이터", "는", "모델", "의", "성능", "을"]


def test_french_elision_is_a_word_of_its_own() -> None:
    assert words("fr", "l’énergie qu'elles") == ["l’", "énergie", "qu'", "elles"]


def test_combining_marks_stay_inside_hindi_words() -> None:
    assert words("hi", "प्रकाश एक प्रक्रिया") == ["प्रकाश", "एक", "प्रक्रिया"]


def test_function_words_weigh_nothing_and_nouns_one() -> None:
    tokens = Tokenizer.for_texts("en", []).tokens("The gradient of the loss")
    assert [t.weight for t in tokens] == [0, 1, 0, 0, 1]


@pytest.mark.parametrize(
    ("language", "variants"),
    [
        ("en", ["network", "networks", "network's"]),
        ("en", ["box", "boxes"]),
        ("en", ["theory", "theories"]),
        ("de", ["Zelle", "Zellen"]),
        ("fr", ["plante", "plantes"]),
        ("es", ["planta", "plantas"]),
        ("ru", ["клетка", "клетки", "клеткой"]),
        ("pl", ["komórka", "komórki"]),
    ],
)
def test_variants_of_a_word_share_their_key(language: str, variants: list[str]) -> None:
    assert len({stem(v, language) for v in variants}) == 1


@pytest.mark.parametrize("word", ["DNS", "GPS", "class", "bus", "analysis", "gas"])
def test_words_that_only_look_plural_keep_their_letters(word: str) -> None:
    assert stem(word, "en") == word.lower()


def test_unknown_language_gets_its_frequent_short_words_as_function_words() -> None:
    text = ("ni kupu tahi " * 40 + "ni waka nui " * 20).split()
    assert "ni" in frequent_short_words(text)
    tokens = Tokenizer.for_texts("mi", [" ".join(text)]).tokens("ni kupenga")
    assert [t.weight for t in tokens] == [0, 1]


def test_every_promised_language_has_function_words() -> None:
    assert set(languages()) >= {
        "en",
        "zh",
        "de",
        "fr",
        "es",
        "it",
        "pt",
        "nl",
        "ru",
        "ja",
        "ko",
        "sv",
        "pl",
    }
    assert all(len(function_words(code)) > 50 for code in languages())


@settings(max_examples=50, deadline=None)
@given(st.text("光合作用的是模型机器学习ABあア\u0e01\u0e32\u0e49\u0e23 .,1", max_size=40))
def test_tokens_are_where_they_say(text: str) -> None:
    for language in ("zh", "ja", "th", "en"):
        tokens = Tokenizer.for_texts(language, [text]).tokens(text)
        assert [text[t.start : t.end] for t in tokens] == [t.text for t in tokens]
        assert all(a.end <= b.start for a, b in itertools.pairwise(tokens))
    assert "".join(cut_chinese(text)) == text
    assert "".join(cut_thai(text)) == text


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("the cabbage juice changes color depending on how acidic it is", "en"),
        ("für die besten aussichten sollten sie die insel verlassen", "de"),
        ("giancarlo perdeu o controle do carro e acabou a corrida logo após a largada", "pt"),
        ("se recomienda a los viajeros que se informen sobre cualquier riesgo", "es"),
        ("sempre alla radio nacquero anche alcune sue canzoni o meglio ritmi", "it"),
        ("le même mois un autre avion de ligne a fait une sortie de piste", "fr"),
        ("Поздравляем! Вы закончили установку программы", "ru"),
        ("Всі люди народжуються вільними і рівними у своїй гідності", "uk"),
        ("广州市房地产中介协会分析", "zh"),
        ("我们用 Python 写一个程序 print hello world", "zh"),
        ("客観的実在の判断的知識が成立するのである", "ja"),
        ("그는 이리저리 피하면서 길 한 옆으로 걸어갔다", "ko"),
        ("พลังงานแสงเป็นพลังงานเคมี", "th"),
        ("", ""),
        ("123 ... 456", ""),
        ("xyzzy plugh", ""),
    ],
)
def test_language_is_guessed_by_script_and_function_words(text: str, language: str) -> None:
    assert guess_language(text) == language
