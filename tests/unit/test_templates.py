"""Templates: found, validated, rendered; a hostile one reaches nothing and ends soon."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gs_video_report.errors import TemplateError
from gs_video_report.templates import labels, sandbox
from gs_video_report.templates.loader import (
    SHIPPED_DIR,
    list_templates,
    load_template,
    parse_template,
    render_prompt,
)
from gs_video_report.templates.sandbox import render

MINIMAL = 'version: "1"\ntitle: T\n'


def parse(text: str) -> object:
    return parse_template(text.encode(), "x.yaml", "x")


SHIPPED = ["chinese_transcript", "comprehensive_lesson", "summary_report", "transcript"]


def test_the_shipped_templates_load_and_say_what_needs_a_model() -> None:
    found = {t.name: t for t in list_templates()}
    assert sorted(found) == SHIPPED
    assert found["transcript"].needs_llm == ()  # the local engine leaves nothing of it out
    assert found["chinese_transcript"].language == "zh"
    assert found["chinese_transcript"].needs_llm[0] == "translation into Chinese"
    assert found["comprehensive_lesson"].sections[0].key == "objectives"
    assert all(len(t.sha256) == 64 and t.response_schema for t in found.values())


@pytest.mark.parametrize("mode", ["video", "text"])
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_prompts_carry_the_material_and_the_time_of_a_part(name: str, mode: str) -> None:
    text = render_prompt(
        load_template(name),
        {
            "title": "Hashing",
            "duration": "1:02:03",
            "mode": mode,
            "transcript": "[0:00:01] Hello",
            "part": 2,
            "parts": 3,
            "part_start": "0:30:00",
            "part_end": "1:00:00",
        },
    )
    assert "Hashing" in text
    assert "0:30:00" in text
    assert ("[0:00:01] Hello" in text) == (mode == "text")


def test_section_keys_of_a_schema_are_the_sections_of_its_template() -> None:
    for template in list_templates():
        if template.sections:
            assert template.response_schema is not None
            keys = template.response_schema["properties"]["sections"]["items"]["properties"]["key"]
            assert keys["enum"] == [s.key for s in template.sections]


def test_a_users_template_wins_and_changes_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "summary_report.yaml").write_text('version: "9"\ntitle: Mine\n')
    mine = load_template("summary_report", tmp_path)
    assert (mine.title, mine.version) == ("Mine", "9")
    assert mine.sha256 != load_template("summary_report").sha256
    assert len(list_templates(tmp_path)) == len(SHIPPED)


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(TemplateError) as caught:
        load_template("chinese_transcrpt")
    assert caught.value.hint == "did you mean chinese_transcript?"


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a/b", "A", "loader.py\x00"])
def test_a_name_cannot_be_a_path(name: str) -> None:
    with pytest.raises(TemplateError, match="there is no template"):
        load_template(name, Path("/"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "promt: x", "unknown key 'promt', did you mean 'prompt'?"),
        (MINIMAL + "sections: [{key: a, titel: b}]", "did you mean 'title'"),
        (MINIMAL + "labels: {sumary: x}", "did you mean 'summary'"),
        ("version: 1.0\ntitle: T\n", "'version' must be text"),
        ("title: T\n", "'version' must be given"),
        (MINIMAL + "schema: 2", "schema 2 is not known"),
        (MINIMAL + "name: other", "is named 'other'"),
        (MINIMAL + "title: again", "key twice"),
        (MINIMAL + "a: &a [x]\nb: *a", "aliases are not allowed"),
        (MINIMAL + "prompt: !!python/object/apply:os.system [id]", "YAML error"),
        (MINIMAL + "language: klingon language", "language code"),
        (MINIMAL + "prompt: '{{ titel }}'", "unknown variable 'titel', did you mean 'title'?"),
        (MINIMAL + "prompt: '{{ title '", "prompt"),
        (MINIMAL + "layout: '{% include \"/etc/passwd\" %}'", "include is not allowed"),
        (MINIMAL + "sections: [{key: a, title: b}, {key: a, title: c}]", "used twice"),
        ("- a\n", "must be a mapping"),
        ("a: [", "YAML error in line"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_malformed_templates_are_refused_in_plain_words(text: str, message: str) -> None:
    with pytest.raises(TemplateError, match=r"x\.yaml") as caught:
        parse(text)
    assert message in caught.value.message


def test_prompt_variables_are_checked() -> None:
    with pytest.raises(TemplateError, match="no variable named titel"):
        render_prompt(load_template("summary_report"), {"titel": "x"})


def test_sections_can_be_looped_over_and_text_is_not_reinterpreted() -> None:
    text = render(
        "{% for s in sections if s.key != 'b' %}{{ loop.index }}{{ s.title }}{% endfor %}",
        {"sections": [{"key": "a", "title": "{{ 7*7 }}"}, {"key": "b", "title": "x"}]},
        "t",
    )
    assert text == "1{{ 7*7 }}"


def test_keys_named_like_methods_are_data() -> None:
    assert render("{{ l.copy }} {{ l.get('items') }}", {"l": {"copy": "C", "items": "I"}}, "t") == (
        "C I"
    )


HOSTILE = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ title.__class__ }}",
    "{{ title['__class__'] }}",
    "{{ title|attr('__class__') }}",
    "{{ '{0.__class__}'.format(title) }}",
    "{{ self.__init__.__globals__ }}",
    "{{ range.__self__ }}",
    "{{ loop }}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{{ d.update({'a': 1}) }}",
    "{{ d.items.__func__ }}",
    "{{ cycler.__init__ }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ environment.hook_turn }}",
    "{% macro a() %}{{ a() }}{{ a() }}{% endmacro %}{{ a() }}",
    "{% import 'os' as o %}",
    "{% set x %}{{ title }}{{ title }}{% endset %}",
    "{% filter upper %}x{% endfilter %}",
    "{% for x in [[1]] recursive %}{{ loop(x) }}{% endfor %}",
    "{{ 'a' * 1000000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ 'a'|center(1000000000) }}",
    "{{ range(1000000000)|list }}",
    "{{ range(10001)|length }}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{{ title * 1 }}{% endfor %}{% endfor %}",
    "{% set s = 'aaaaaaaaaaaaaaaa' %}" + "{% set s = s ~ s %}" * 40 + "{{ s|length }}",
    "{% set n = 99999 %}" + "{% set n = n * n %}" * 40 + "{{ n }}",
    "{% set a = [title, title] %}" + "{% set a = [a, a] %}" * 40 + "{{ a }}",
    "{{ d }}",
    "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "{{ " + "9" * 6000 + " }}",
    "{{ big|join(big) }}",
]


@pytest.mark.parametrize("source", HOSTILE)
def test_a_hostile_template_is_refused_and_ends_soon(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "MAX_CPU_S", 0.5)
    start = time.process_time()
    variables = {"title": "T", "d": {"k": "v"}, "big": "x" * 100_000}
    with pytest.raises(TemplateError):
        render(source, variables, "hostile")
    assert time.process_time() - start < 3


def test_labels_of_both_languages_have_the_same_keys() -> None:
    assert list(labels.EN) == list(labels.ZH)
    assert all(labels.EN.values())
    assert all(labels.ZH.values())
    assert labels.labels_for("zh-Hans", {})["summary"] == "摘要"
    assert labels.labels_for("source", {"summary": "Gist"})["summary"] == "Gist"


def test_shipped_files_are_all_valid_names() -> None:
    assert sorted(p.stem for p in SHIPPED_DIR.glob("*.yaml")) == SHIPPED


def test_a_layout_that_asks_too_much_is_named_in_the_error() -> None:
    with pytest.raises(TemplateError, match=r"^template mine \(layout\): a dict cannot be printed"):
        render("{{ report }}", {"report": {"a": 1}}, "mine (layout)")
