"""A file is right, or its fault is said with the place where it is, before any work."""

from __future__ import annotations

import pytest

from streamsvd.errors import AccessError, DescriptionError, StoreError
from streamsvd.pipelines.description import read_pipeline
from streamsvd.pipelines.vocabulary import INPUTS, step_fields
from tests.pipelines.kit import CHAIN, SVD, folder_of_work, refusal, write

STEP = '[sources.a]\npath = "A.npy"\n[[steps]]\n'
FAULTS = {
    # name: text, what is said
    "a field of a step": (
        SVD + '[[steps]]\nname = "b"\nsvd = {source = "a", rank = 2, toll = 1}',
        r"unknown field 'toll' - at $.steps[1].svd. Its fields are source, rank, ",
    ),
    "a field of the file": (
        "colour = 3\n" + SVD,
        "unknown field 'colour' - at $. Mend it; docs/pipelines.md names every field.",
    ),
    "a field of a source": (
        SVD.replace("path =", 'pth = "x"\npath ='),
        "unknown field 'pth' - at $.sources.a.",
    ),
    "a field of a check": (
        SVD + '[[checks]]\nstep = "eof"\nquantity = "width"\nat_mots = 1',
        "unknown field 'at_mots' - at $.checks[0].",
    ),
    "a quantity": (
        SVD + '[[checks]]\nstep = "eof"\nquantity = "beauty"\nat_most = 1',
        "Invalid enum value 'beauty' - at $.checks[0].quantity.",
    ),
    "a quantity that the verb has not": (
        "[sources.a]\npath = 'a'\n[[steps]]\nname = 'n'\nnystrom = {source = 'a'}\n"
        '[[checks]]\nstep = "n"\nquantity = "drift"\nat_most = 1',
        "the result of nystrom has no drift - at $.checks[0].quantity. It has age, bytes,",
    ),
    "no bound": (
        SVD + '[[checks]]\nstep = "eof"\nquantity = "width"',
        "nothing is asked - at $.checks[0]. Pass at_most or at_least.",
    ),
    "bounds that exclude each other": (
        SVD + '[[checks]]\nstep = "eof"\nquantity = "width"\nat_least = 2\nat_most = 1',
        "no value is at least 2 and at most 1 - at $.checks[0].",
    ),
    "a bound that is no number": (
        SVD + '[[checks]]\nstep = "eof"\nquantity = "width"\nat_most = nan',
        "no value is at least nan and at most nan - at $.checks[0].",
    ),
    "the step of a check": (
        SVD + '[[checks]]\nstep = "eoff"\nquantity = "width"\nat_most = 1',
        "there is no step 'eoff' - at $.checks[0].step. Steps are eof.",
    ),
    "a link in an object store": (
        SVD + '[[publish]]\nstep = "eof"\nto = "s3://bucket/latest"',
        "s3://bucket/latest is a URL, and this is written to local folders alone.",
    ),
    "a state in an object store": (
        'state = "s3://bucket/state"\n' + SVD,
        "s3://bucket/state is a URL, and this is written to local folders alone.",
    ),
    "the step of a link": (
        SVD + '[[publish]]\nstep = "x"\nto = "latest"',
        "there is no step 'x' - at $.publish[0].step. Steps are eof.",
    ),
    "leading directions of what has none": (
        SVD + '[[checks]]\nstep = "eof"\nquantity = "rows"\nat_least = 1\nleading = 2',
        "rows has no leading directions - at $.checks[0].leading. They are of change, drift, width.",
    ),
    "more leading directions than the rank": (
        SVD + '[[checks]]\nstep = "eof"\nquantity = "width"\nat_most = 1\nleading = 4',
        "leading=4 is no number of directions of eof - at $.checks[0].leading. Pass 1 to 3.",
    ),
    "no leading directions": (
        SVD.replace("rank = 3", "energy = 0.9")
        + '[[checks]]\nstep = "eof"\nquantity = "width"\nat_most = 1\nleading = 0',
        "leading=0 is no number of directions of eof - at $.checks[0].leading. Pass 1 or more.",
    ),
    "drift of what is not published": (
        SVD + '[[checks]]\nstep = "eof"\nquantity = "drift"\nat_most = 1',
        "drift is measured from what is published, and eof is published nowhere - at $.checks[0]. Write [[publish]] for",
    ),
    "columns of what is not published": (
        SVD + '[[checks]]\nstep = "eof"\nquantity = "schema"\ncolumns = "published"',
        "schema is measured from what is published, and eof is published nowhere - at $.checks[0].",
    ),
    "an empty schema": (
        SVD + '[[checks]]\nstep = "eof"\nquantity = "schema"',
        "nothing is asked - at $.checks[0]. Pass columns, dtype, or both.",
    ),
    "bounds of a schema": (
        SVD + '[[checks]]\nstep = "eof"\nquantity = "schema"\ncolumns = 3\nat_most = 4',
        "a schema has no bounds - at $.checks[0]. Pass columns, dtype, or both.",
    ),
    "no columns": (
        SVD + '[[checks]]\nstep = "eof"\nquantity = "schema"\ncolumns = 0',
        "columns=0 is no number of columns - at $.checks[0].columns. Pass 1 or more.",
    ),
    "columns that are no number": (
        SVD + '[[checks]]\nstep = "eof"\nquantity = "schema"\ncolumns = "many"',
        "Invalid enum value 'many' - at $.checks[0].columns.",
    ),
    "a type of numbers": (
        SVD + '[[checks]]\nstep = "eof"\nquantity = "schema"\ndtype = "text"',
        "'text' is no type of numbers - at $.checks[0].dtype. Pass one such as float32,",
    ),
    "a type that is a text": (
        SVD + '[[checks]]\nstep = "eof"\nquantity = "schema"\ndtype = "U8"',
        "'U8' is no type of numbers - at $.checks[0].dtype.",
    ),
    "columns of a bound": (
        SVD + '[[checks]]\nstep = "eof"\nquantity = "rows"\nat_least = 1\ncolumns = 3',
        "columns and dtype belong to a schema - at $.checks[0]. Write quantity",
    ),
    "the schema of a collection": (
        STEP
        + 'cluster = {source = "a"}\n[[checks]]\nstep = "cluster"\nquantity = "schema"\ncolumns = 3',
        "the result of cluster has no schema - at $.checks[0].quantity. It has age, bytes, error,",
    ),
    "published columns of what has none": (
        STEP
        + 'nystrom = {source = "a"}\n[[checks]]\nstep = "nystrom"\nquantity = "schema"\ncolumns = "published"\n'
        '[[publish]]\nstep = "nystrom"\nto = "x"',
        "the result of nystrom does not say how many columns it was made of - at $.checks[0].columns. Pass their number.",
    ),
    "a name of two checks": (
        SVD + 2 * '[[checks]]\nname = "x"\nstep = "eof"\nquantity = "rows"\nat_least = 1\n',
        "two tables have the name 'x' - at $.checks[0].name. Give each its own.",
    ),
    "the name of a link": (
        SVD + '[[publish]]\nname = "a b"\nstep = "eof"\nto = "x"',
        "'a b' is no name - at $.publish[0].name.",
    ),
    "the name of a notice": (
        SVD + '[[notify]]\nname = "a.b"\ncommand = ["true"]',
        "'a.b' is no name - at $.notify[0].name.",
    ),
    "no steps": ("steps = []", "there are no steps - at $.steps. Write one"),
    "steps left out": ('name = "x"', "Object missing required field 'steps' - at $."),
    "a step that is no table": ("steps = [3]", "expected 'object', got 'int' - at $.steps[0]."),
    "no verb": (
        STEP + 'name = "x"',
        "a step has one verb, found none - at $.steps[0]. Write one of svd, pca,",
    ),
    "two verbs": (
        STEP + 'svd = {source = "a"}\npca = {source = "a"}',
        "a step has one verb, found svd and pca - at $.steps[0].",
    ),
    "an unknown verb": (
        STEP + 'svdd = {source = "a"}',
        "unknown field 'svdd' - at $.steps[0]. Its fields are name, needs, and one of svd, pca,",
    ),
    "a verb that is no step": (
        STEP + 'shuffle = {source = "a"}',
        "unknown field 'shuffle' - at $.steps[0].",
    ),
    "a verb without a table": (
        STEP + "svd = 5",
        "expected a table, found 5 - at $.steps[0].svd. Write svd = {source = ...}.",
    ),
    "no source": (
        STEP + "svd = {rank = 3}",
        "expected a name or a path, found nothing - at $.steps[0].svd.source.",
    ),
    "a source that is no text": (
        STEP + "svd = {source = 7}",
        "expected a name or a path, found 7 - at $.steps[0].svd.source. Write it as a text.",
    ),
    "an empty source": (
        STEP + 'svd = {source = ""}',
        "expected a name or a path, found '' - at $.steps[0].svd.source.",
    ),
    "an unknown source": (
        STEP + 'svd = {source = "b", rank = 1}',
        "there is no source 'b' - at $.steps[0].svd.source. Sources are a.",
    ),
    "no sources at all": (
        '[[steps]]\nsvd = {source = "b", rank = 1}',
        "there is no source 'b' - at $.steps[0].svd.source. Sources are none.",
    ),
    "an unknown need": (
        SVD.replace("svd =", 'needs = ["x"]\nsvd ='),
        "there is no step 'x' - at $.steps[0].needs. Steps are eof.",
    ),
    "needs that are no list": (
        SVD.replace("svd =", 'needs = "x"\nsvd ='),
        "expected a list of names of steps, found 'x' - at $.steps[0].needs.",
    ),
    "a name of two steps": (
        SVD + '[[steps]]\nname = "eof"\nsvd = {source = "a", rank = 2}',
        "two steps have the name 'eof' - at $.steps. Give each its own.",
    ),
    "a name with a stroke": (
        SVD.replace('"eof"', '"a/b"'),
        "'a/b' is no name - at $.steps[0].name. Use letters, digits, - and _.",
    ),
    "a name above": (SVD.replace('"eof"', '".."'), "'..' is no name - at $.steps[0].name."),
    "a name that is no text": (SVD.replace('"eof"', "4"), "4 is no name - at $.steps[0].name."),
    "an empty name of the pipeline": ('name = ""\n' + SVD, "'' is no name - at $.name."),
    "the name of a source": (
        SVD.replace("sources.a", 'sources."a b"'),
        "'a b' is no name - at $.sources.",
    ),
    "an empty path": (
        SVD.replace('"A.npy"', '""'),
        "path is empty, and the current folder is not meant by that. Pass a path; the current folder is '.'. - at "
        "$.sources.a.path.",
    ),
    "a home of nobody": (
        SVD.replace('"A.npy"', '"~nobody-here/A.npy"'),
        "path='~nobody-here/A.npy' begins with ~, and there is no such home folder.",
    ),
    "an empty state": ('state = ""\n' + SVD, "path is empty"),
    "an empty link": (SVD + '[[publish]]\nstep = "eof"\nto = ""', "path is empty"),
    "keep nothing": ("keep = 0\n" + SVD, "keep=0 would keep no result - at $.keep."),
    "keep a text": ('keep = "x"\n' + SVD, "expected 'int', got 'str' - at $.keep."),
    "keep a truth": ("keep = true\n" + SVD, "expected 'int', got 'bool' - at $.keep."),
    "absence": (
        SVD.replace("path =", 'absent = "wait"\npath ='),
        "Invalid enum value 'wait' - at $.sources.a.absent.",
    ),
    "a link twice": (
        SVD + '[[publish]]\nstep = "eof"\nto = "x"\n[[publish]]\nstep = "eof"\nto = "./x"',
        "two steps are published to ./x - at $.publish[1].to.",
    ),
    "a link in a link": (
        SVD + '[[publish]]\nstep = "eof"\nto = "x"\n[[publish]]\nstep = "eof"\nto = "x/y"',
        "lie one in the other - at $.publish[1].to. Publish to places beside each other.",
    ),
    "a notice without a command": (
        SVD + "[[notify]]\ncommand = []",
        "there is no command - at $.notify[0].command. Write its words",
    ),
    "a notice of no time": (
        SVD + '[[notify]]\ncommand = ["true"]\nseconds = 0',
        "seconds=0 leaves it no limit of time - at $.notify[0].seconds.",
    ),
    "a notice of endless time": (
        SVD + '[[notify]]\ncommand = ["true"]\nseconds = inf',
        "seconds=inf leaves it no limit of time - at $.notify[0].seconds.",
    ),
    "a null character in a command": (
        SVD + '[[notify]]\ncommand = ["tr\\u0000ue"]',
        "a word of the command has a null character - at $.notify[0].command.",
    ),
    "when to notify": (
        SVD + '[[notify]]\ncommand = ["true"]\nwhen = "never"',
        "Invalid enum value 'never' - at $.notify[0].when.",
    ),
    "a target that is no file": (
        STEP + 'lstsq = {source = "a", b = "y"}',
        "'y' is no .npy file - at $.steps[0].lstsq.b.",
    ),
    "a verification of a sample": (
        STEP
        + 'sample_rows = {source = "a", size = 3}\n[[steps]]\nverify = {source = "a", result = "sample_rows"}',
        "step 'sample_rows' is sample_rows, which has no certificate to verify - at $.steps[1].verify.result.",
    ),
    "a collection with a variable": (
        STEP.replace("path =", 'variable = "t"\npath =') + 'cluster = {source = "a"}',
        "cluster reads a collection, for which variable says nothing - at $.sources.a.variable. Leave it out.",
    ),
    "an option of our own": (
        STEP + 'svd = {source = "a", rank = 2, out = "x"}',
        "unknown field 'out' - at $.steps[0].svd.",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_said_with_its_place(tmp_path, fault):
    text, said = FAULTS[fault]
    assert said in refusal(tmp_path, text)


def test_a_circle_is_shown(tmp_path):
    text = STEP + 'name = "x"\nneeds = ["y"]\nsvd = {source = "a"}\n'
    text += '[[steps]]\nname = "y"\nneeds = ["x"]\nsvd = {source = "a"}\n'
    said = refusal(tmp_path, text)
    assert "steps need one another in a circle: " in said
    assert "x -> y" in said
    assert " - at $.steps. Take one of these needs out." in said


def test_a_step_that_needs_itself_is_a_circle(tmp_path):
    assert "circle: eof -> eof" in refusal(tmp_path, SVD.replace("svd =", 'needs = ["eof"]\nsvd ='))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(
        StoreError, match=r"none\.toml does not exist\. Pass the file of a pipeline"
    ):
        read_pipeline(tmp_path / "none.toml")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(AccessError, match="A folder stands where a file should be"):
        read_pipeline(tmp_path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"steps = [", r"p\.toml is no TOML: .*end of document.*Mend that line"),
        (b"name = 'a'\nname = 'b'", r"p\.toml is no TOML: .*.*Mend that line"),
        (b"\x93NUMPY\xff", r"p\.toml is no text: .*Pass the file of a pipeline"),
    ],
)
def test_what_is_no_toml_is_said_to_be_none(tmp_path, data, said):
    (tmp_path / "p.toml").write_bytes(data)
    with pytest.raises(DescriptionError, match=said):
        read_pipeline(tmp_path / "p.toml")


def test_a_variable_of_the_environment_is_what_it_holds(tmp_path, monkeypatch):
    text = SVD.replace("A.npy", "${HERE_IT_IS}/A-${HERE_NOT:-x}${HERE_NOT:-}.npy")
    monkeypatch.setenv("HERE_IT_IS", "deep")
    monkeypatch.delenv("HERE_NOT", raising=False)
    assert write(tmp_path, text).sources["a"].path == "deep/A-x.npy"
    monkeypatch.setenv("HERE_NOT", "7")
    assert write(tmp_path, text).sources["a"].path == "deep/A-77.npy"


def test_a_variable_that_is_unset_is_located(tmp_path, monkeypatch):
    monkeypatch.delenv("HERE_NOT", raising=False)
    said = refusal(tmp_path, SVD + '[[notify]]\ncommand = ["mail", "${HERE_NOT}"]')
    assert said == (
        "the environment has no variable HERE_NOT - at $.notify[0].command[1]. Set it, or write ${HERE_NOT:-...} "
        "with what is meant without it."
    )


def test_settings_replace_what_the_file_says(tmp_path):
    given = ("steps.eof.svd.rank=7", "sources.a.path=other place.npy", "keep=2", 'name="n"')
    pipeline = write(tmp_path, SVD, *given, "steps.eof.svd.tol=1e-3", "sources.b.path=B.npy")
    (step,) = pipeline.steps
    assert step.options == {"rank": 7, "tol": 1e-3}
    assert pipeline.sources["a"].path == "other place.npy"
    assert pipeline.sources["b"].path == "B.npy"
    assert (pipeline.keep, pipeline.name) == (2, "n")


def test_a_step_without_a_name_is_set_by_its_verb(tmp_path):
    pipeline = write(tmp_path, SVD.replace('name = "eof"\n', ""), "steps.svd.svd.rank=2")
    assert pipeline.steps[0].options == {"rank": 2}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("rank", "set='rank' is no key=value. Write it as steps.NAME.VERB.OPTION=VALUE"),
        ("=3", "set='=3' is no key=value."),
        ("steps..rank=3", "set='steps..rank=3' is no key=value."),
        ("checks.none.at_most=3", "leads nowhere: there is no 'none' at $.checks. Check the key."),
        ("steps.none.svd.rank=3", "leads nowhere: there is no 'none' at $.steps. There are eof."),
        ("steps.eof=3", "leads to a list, not to a value. Name a field of one of its tables."),
        ("sources.a.path.deep=3", "leads nowhere: there is no 'path' at $.sources.a."),
        ("steps.eof.pca.rank=3", "a step has one verb, found svd and pca - at $.steps[0]."),
        ("steps.eof.svd.ranks=3", "unknown field 'ranks' - at $.steps[0].svd."),
        ("colour=3", "unknown field 'colour' - at $."),
        ("keep=many", "expected 'int', got 'str' - at $.keep."),
        ("name=", "'' is no name - at $.name."),
    ],
)
def test_a_setting_that_cannot_be_meant(tmp_path, setting, said):
    assert said in refusal(tmp_path, SVD, setting)


def test_steps_come_after_what_they_need_and_else_as_written(tmp_path):
    text = STEP + 'name = "z"\nneeds = ["b"]\nsvd = {source = "a"}\n'
    for name in ("b", "a"):
        text += f'[[steps]]\nname = "{name}"\nsvd = {{source = "a"}}\n'
    assert [s.name for s in write(tmp_path, text).steps] == ["b", "z", "a"]


def test_steps_that_are_in_order_stay_as_they_are_written(tmp_path):
    text = CHAIN + '[[steps]]\nname = "after"\nsvd = {source = "a"}\n'
    assert [s.name for s in write(tmp_path, text).steps] == ["eof", "model", "proof", "after"]


def test_a_verification_comes_after_what_it_verifies(tmp_path):
    text = STEP + 'name = "proof"\nverify = {source = "a", result = "eof"}\n'
    text += '[[steps]]\nname = "eof"\nsvd = {source = "a"}\n'
    assert [s.name for s in write(tmp_path, text).steps] == ["eof", "proof"]


def test_paths_are_those_of_the_files_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    pipeline = write(tmp_path, CHAIN, "state=~/kept")
    assert pipeline.place("a b.npy") == tmp_path / "a b.npy"
    assert pipeline.place("~/a.npy") == tmp_path / "home" / "a.npy"
    assert pipeline.address("s3://bucket/a") == "s3://bucket/a"
    assert pipeline.state == tmp_path / "home" / "kept"
    with folder_of_work(tmp_path):
        assert read_pipeline("p.toml").state == tmp_path / "p.runs"


@pytest.mark.parametrize("verb", INPUTS)
def test_every_verb_names_its_inputs_and_no_place_of_ours(verb):
    fields = step_fields(verb)
    assert len(fields) == len(set(fields))
    assert set(INPUTS[verb].values()) <= set(fields)
    assert not {"out", "callback", "checkpoint", "path", "A"} & set(fields)


def test_checks_links_and_notices_are_set_by_their_names_or_by_what_they_are_of(tmp_path):
    text = SVD + '[[checks]]\nstep = "eof"\nquantity = "rows"\nat_least = 1\n'
    text += '[[checks]]\nname = "few"\nstep = "eof"\nquantity = "rows"\nat_most = 9\n'
    text += (
        '[[publish]]\nstep = "eof"\nto = "x"\n[[publish]]\nname = "too"\nstep = "eof"\nto = "y"\n'
    )
    text += '[[notify]]\ncommand = ["/usr/bin/mail", "me"]\n[[notify]]\nname = "chat"\ncommand = ["mail"]\n'
    given = (
        "checks.eof-rows.at_least=5", "checks.few.at_most=7", "publish.eof.to=a", "publish.too.to=b", "notify.mail.seconds=3",
        "notify.chat.when=always",
    )  # fmt: skip
    pipeline = write(tmp_path, text, *given)
    assert [(c.at_least, c.at_most) for c in pipeline.checks] == [(5, None), (None, 7)]
    assert [p.to for p in pipeline.publications] == ["a", "b"]
    assert [n.seconds for n in pipeline.notices] == [3, 30]
    assert [n.when for n in pipeline.notices] == ["failure", "always"]


def test_a_setting_that_may_mean_two_tables_is_refused(tmp_path):
    text = SVD + 2 * '[[checks]]\nstep = "eof"\nquantity = "rows"\nat_least = 1\n'
    said = refusal(tmp_path, text, "checks.eof-rows.at_least=5")
    assert "may mean 2 tables at $.checks: give each a name, such as name = 'eof-rows-2'." in said
    assert len(write(tmp_path, text).checks) == 2
